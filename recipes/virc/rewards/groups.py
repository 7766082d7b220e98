"""Rules that rewrite the rewards of all rollouts of one prompt before they are compared.

A system's YAML adds them up, each times its weight: `reward: {total: outcome, group: {reward: 1, distinct: 0.2}}`. A
reward file may import them for a `group` of its own. Each is given the rewards and the `ts` of `rewards.rollouts`, of
which it reads `t.answer_text`. GRPO subtracts the mean and divides by the standard deviation by
itself, so no rule does.

Answers are the same where they are the same text but for case and space. A rollout without an answer agrees with none.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from virc.rewards.terms.answers import plain

Rule = Callable[[Sequence[float], Sequence[Any]], list[float]]


def reward(rewards: Sequence[float], ts: Sequence[Any]) -> list[float]:
    """The reward as it is, to add others to it."""
    return list(rewards)


def rank(rewards: Sequence[float], ts: Sequence[Any]) -> list[float]:
    """The share of the others with a lower reward, equal ones by half, 0 to 1.

    Source: GOPO (arXiv:2602.03876; friendshipkim/gopo@02e2b9f, src/open_r1/grpo_trainer.py), whose value is 4 times
    this less 2, and which puts equal ones in the order they were drawn in.
    """
    return [
        _mean([(other < own) + (other == own) / 2 for other in _others(rewards, at)]) for at, own in enumerate(rewards)
    ]


def distinct(rewards: Sequence[float], ts: Sequence[Any]) -> list[float]:
    """The share of the others that do not give the same answer, 0 to 1; 0 without an answer.

    Source: Darling (arXiv:2509.02534; facebookresearch/darling@c07a323, partition_reward_vllm_serve.py, partition),
    where a classifier says which replies mean the same, and no reward is under 0.1.
    """
    answers = _answers(ts)
    return [
        _mean([other != own for other in _others(answers, at)]) if own is not None else 0.0
        for at, own in enumerate(answers)
    ]


def agreement(rewards: Sequence[float], ts: Sequence[Any]) -> list[float]:
    """The share of the group that gives this answer, itself included, 0 to 1; 0 without an answer.

    Source: EMPO (arXiv:2504.05812), whose reward is the share of the replies that mean the same.
    """
    answers = _answers(ts)
    return [answers.count(own) / len(answers) if own is not None else 0.0 for own in answers]


def majority(rewards: Sequence[float], ts: Sequence[Any]) -> list[float]:
    """1 where the answer is the one that most of the group give, else 0; of several such, the first.

    Source: TTRL (arXiv:2504.16084; PRIME-RL/TTRL@3e2cc93, ttt_metrics.py), which compares answers by algebra, too, and
    where no answer can be the one of most.
    """
    answers = _answers(ts)
    most = Counter(each for each in answers if each is not None).most_common(1)
    return [float(own is not None and own == most[0][0]) for own in answers]


RULES: Mapping[str, Rule] = {each.__name__: each for each in (reward, rank, distinct, agreement, majority)}


def weighted(rewards: Sequence[float], ts: Sequence[Any], weights: Mapping[str, float]) -> list[float]:
    """The sum of rules, each times its weight."""
    values = [(weight, RULES[name](rewards, ts)) for name, weight in weights.items()]
    return [sum(weight * each[at] for weight, each in values) for at in range(len(rewards))]


def _answers(ts: Sequence[Any]) -> list[str | None]:
    return [None if t.answer_text is None else plain(t.answer_text) for t in ts]


def _others(values: Sequence[Any], at: int) -> list[Any]:
    return [*values[:at], *values[at + 1 :]]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
