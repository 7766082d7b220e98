"""Rules that rewrite the rewards of all rollouts of one prompt before they are compared.

A system's YAML adds them up, each times its weight: `reward: {total: outcome, group: {reward: 1, distinct: 0.2}}`. A
reward file may import them for a `group` of its own. Each is given the rewards and the `ts` of `rewards.rollouts`, of
which it reads `t.answer_text` and `t.reply_text`. GRPO subtracts the mean and divides by the standard deviation by
itself, so no rule does.

Answers are the same where they are the same text but for case and space. A rollout without an answer agrees with none.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from virc.core.errors import SetupError
from virc.core.extras import install
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


def over_mean(rewards: Sequence[float], ts: Sequence[Any]) -> list[float]:
    """The reward over the mean of the group's; 0 where that is not over 0. It needs `norm_adv_by_std: false`.

    Source: MaxRL (arXiv:2602.02710), whose advantage is the reward less the mean, over the mean.
    """
    mean = _mean(rewards)
    return [each / mean if mean > 0 else 0.0 for each in rewards]


def middle(rewards: Sequence[float], ts: Sequence[Any]) -> list[float]:
    """The reward where the group's mean is over 0.2 and under 0.8, else 0 for all: Vision-G1, dapo_ray_trainer.py."""
    return list(rewards) if len(rewards) == 1 or 0.2 < _mean(rewards) < 0.8 else [0.0] * len(rewards)


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


def unlike(rewards: Sequence[float], ts: Sequence[Any]) -> list[float]:
    """1 less the mean likeness of the reply to the others, 0 to 1.

    The likeness of two texts is 1 less their insertions and deletions over both lengths (rapidfuzz, `ratio`).
    """
    likeness = _likeness(ts)
    return [1 - _mean(_others(each, at)) if len(ts) > 1 else 0.0 for at, each in enumerate(likeness)]


def over_likeness(rewards: Sequence[float], ts: Sequence[Any]) -> list[float]:
    """The reward over the sum of the reply's likeness to all of the group, itself included, as `unlike` has it.

    Source: DRA-GRPO (arXiv:2505.09655; xiwenc1/DRA-GRPO@0882661, grpo_trainer.py), where the likeness is the cosine of
    sentence embeddings.
    """
    return [reward / sum(each) for reward, each in zip(rewards, _likeness(ts), strict=True)]


RULES: Mapping[str, Rule] = {
    one.__name__: one for one in (reward, rank, over_mean, middle, distinct, agreement, majority, unlike, over_likeness)
}


def _answers(ts: Sequence[Any]) -> list[str | None]:
    return [None if t.answer_text is None else plain(t.answer_text) for t in ts]


def _likeness(ts: Sequence[Any]) -> list[list[float]]:
    try:
        from rapidfuzz.fuzz import ratio
    except ImportError:
        raise SetupError("likeness of texts needs the extra eval", install("eval")) from None
    return [[ratio(one.reply_text, other.reply_text) / 100 for other in ts] for one in ts]


def _others(values: Sequence[Any], at: int) -> list[Any]:
    return [*values[:at], *values[at + 1 :]]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
