"""Each sign of ill health begins just beyond its threshold; at the threshold there is none."""

import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from support.made import add, make
from support.tables import each_case

from virc.core.options import spelled
from virc.runs.metrics import Metric
from virc.training.health import known_by_heart, signs

Fields = dict[str, list[Any]]
Case = tuple[dict[str, Any], Fields, str | None]
DRAWN = [random.Random(number).choice((0.0, 2.0)) for number in range(40)]


def curve(fields: Fields, **always: Any) -> list[Metric]:
    """Steps of which each field has so many values."""
    count = max(map(len, fields.values()))
    return [
        Metric(step=at + 1, **always, **{name: each[at] for name, each in fields.items() if at < len(each)})
        for at in range(count)
    ]


def told(metrics: Iterable[Metric], settings: dict[str, Any], with_tools: bool = True) -> str | None:
    """The only sign and its sentence, or None."""
    found = [f"{sign}: {says}" for sign, says in signs([*metrics], settings, with_tools).items()]
    assert len(found) < 2, found
    return found[0] if found else None


ROLLOUTS: list[Case] = [
    ({}, {"tool_calls": [2.0] * 5 + [1.0] * 3}, None),
    ({}, {"tool_calls": [2.0] * 5 + [0.9] * 3}, "tools: tool calls a reply fell to 0.9, from 2 in the first 5 steps"),
    ({}, {"tool_calls": [2.0, 0.0, 2.0, 0.0, 2.0, 0.1, 0.1, 0.1]}, None),  # as much as it changes from step to step
    ({}, {"tool_calls": [0.0] * 5 + [0.009]}, "tools: replies call no tool: 0.009 calls a reply since the first step"),
    ({}, {"same": [0.0] * 5 + [0.8]}, None),
    ({}, {"same": [0.0] * 5 + [0.0, 0.9, 0.9, 0.9]},
     "variance: in 90% of groups all replies have the same reward, so nothing is learned from them"),
    ({}, {"cut": [0.0] * 5 + [0.5, 0.0, 0.07]}, None),  # their mean is .19
    ({"max_turns": 8}, {"cut": [0.3], "turns": [8.0]}, "length: 30% of replies are cut at the length limit"),
    ({"max_turns": 8}, {"turns": [7.6]}, None),
    ({"max_turns": 8}, {"turns": [7.7]}, "length: replies take 7.7 of 8 turns on average"),
    ({"max_turns": 1}, {"turns": [1.0]}, None),
    ({}, {"malformed": [0.0] * 5 + [0.1]}, None),
    ({}, {"malformed": [0.25] * 5 + [0.36] * 3},
     "format: 36% of replies are not in the format, from 25% in the first 5 steps"),
    ({}, {"entropy": [1.0] * 5 + [0.05] * 3}, None),
    ({}, {"entropy": [1.0] * 5 + [0.04] * 3, "reward": [0.9] * 8, "reward_max": [1.0] * 8}, None),  # all is solved
    ({}, {"entropy": [1.0] * 5 + [0.04] * 3, "reward": [0.89] * 8, "reward_max": [1.0] * 8},
     "entropy: entropy fell to 0.04 nats a token, from 1 in the first 5 steps"),
    ({}, {"entropy": [1.0] * 5 + [0.04] * 3, "reward": [0.0] * 8, "reward_max": [0.0] * 8},
     "entropy: entropy fell to 0.04 nats a token, from 1 in the first 5 steps"),
    ({}, {"entropy": [0.25] * 5 + [1.25] * 3}, None),
    ({}, {"entropy": [2.0] * 5 + [6.1] * 3}, "entropy: entropy rose to 6.1 nats a token, from 2 in the first 5 steps"),
    ({}, {"kl": [0.5]}, None),
    ({}, {"kl": [0.0] * 5 + [0.4, 0.6, 0.6]}, "kl: the policy is 0.53 nats a token away from its base"),
    ({}, {"tool_failures": [0.5, 0.0]}, None),
    ({}, {"tool_failures": [0.0, 0.25]}, "tool_failures: the tool failed in 25% of a step's calls"),
    ({}, {"judge_failures": [0.0, 2.0], "judge_same": [1.0] * 2},
     "judge: the judge gave no verdict on 2 questions of a step"),
    ({}, {"judge_same": [1.0] * 4}, None),
    ({}, {"judge_same": [0.0] + [1.0] * 5}, "judge: the judge gave all replies of the newest 5 steps the same score"),
    ({}, {"correlation": [1.0, 0.9]}, "correlation: the rollout engine's probabilities correlate with the trainer's at "
     "0.9000: it uses other weights"),
    ({}, {"reward": [1.0] * 5 + [0.5] * 5}, None),
    ({}, {"reward": [1.0] * 5 + [0.4] * 5}, "reward: the reward fell to 0.4, from 1"),
    ({}, {"reward": [-1.0] * 5 + [-1.6] * 5}, "reward: the reward fell to -1.6, from -1"),
    ({}, {"grad_norm": [1.0] * 10 + [10.0] * 3}, None),
    ({}, {"grad_norm": [1.0] * 10 + [99.0, 10.5, 12.0]}, "gradient: the gradient's norm rose to 10.5, from 1"),
    ({"max_grad_norm": 5.0}, {"grad_norm": [0.01] * 10 + [5.0] * 3}, None),
]  # fmt: skip


@each_case(("settings", "fields", "expected"), ROLLOUTS)
def test_signs_of_rollouts(settings: dict[str, Any], fields: Fields, expected: str | None) -> None:
    metrics = curve({"reward": [0.5] * max(map(len, fields.values())), **fields}, response_length=9.0)
    assert told(metrics, settings) == expected


DPO, SFT = {"loss": "sigmoid"}, dict[str, Any]()
ROWS: list[Case] = [
    (SFT, {"loss": [1.0] * 10 + [1.5] * 3}, None),
    (SFT, {"loss": [1.0] * 10 + [9.0, 1.6, 1.7]}, "loss: the loss rose to 1.6, from 1"),
    (SFT, {"loss": [1.0] * 15 + [0.5] + [1.0] * 15}, None),  # one easy row
    (SFT, {"loss": [3.0] * 5 + [1.0] * 5 + [2.0] * 3}, None),  # it has changed as much before
    (SFT, {"loss": [0.125] * 10 + [0.2] * 3}, None),
    (SFT, {"loss": [*DRAWN, 3.0, 3.0, 3.0]}, None),
    (DPO, {"accuracy": [0.98] * 10}, None),
    (DPO, {"accuracy": [1.0] * 10 + [0.5] * 9}, "pairs: 100% of pairs are told apart in the first 10 logged steps"),
    (DPO, {"accuracy": [0.05] * 11}, "pairs: the better reply has the higher reward in 5% of pairs"),
    (DPO, {"accuracy": [0.5] * 10 + [0.25] * 20, "margin": [0.1] * 20 + [-0.1] * 10},
     "pairs: the better reply has the higher reward in 25% of pairs"),
    ({"loss": "simpo"}, {"accuracy": [1.0] * 10, "chosen_reward": [-99.0] * 10}, None),
    (DPO, {"chosen_reward": [-5.0], "margin": [0.5]}, None),
    (DPO, {"chosen_reward": [-11.0], "margin": [2.0]},
     "chosen: the better replies fall with the worse: reward -11, margin 2"),
]  # fmt: skip


@each_case(("settings", "fields", "expected"), ROWS)
def test_signs_of_rows_and_pairs(settings: dict[str, Any], fields: Fields, expected: str | None) -> None:
    metrics = curve({"loss": [1.0] * max(map(len, fields.values())), **fields}, learning_rate=0.1)
    assert told(metrics, settings) == expected


@each_case(
    ("losses", "held_out", "says", "hint"),
    [
        ([1.0] * 5, {5: 1.99}, None, None),
        ([0.01] * 5, {5: 0.1}, None, None),
        ([1.0] * 5, {5: 2.5}, "a loss of 1 at the end, held-out ones 2.5: it knows the rows by heart", "more rows, or"),
        ([1.0] * 5, {2: 1.0, 4: 3.0}, "held-out ones 3, and 1 at step 2: it knows the rows by heart", "--set steps=2"),
        ([9.0] * 5 + [1.0] * 19, {24: 2.5}, None, None),  # the mean of the newest 20 is 1.4
    ],
)  # fmt: skip
def test_rows_are_known_by_heart(
    tmp_path: Path, losses: list[float], held_out: dict[int, float], says: str | None, hint: str | None
) -> None:
    run = make(tmp_path, "a")
    add(run, *curve({"loss": [*losses]}), *(Metric(step=step, eval_loss=loss) for step, loss in held_out.items()))
    found = known_by_heart(run)
    assert (found is None) == (says is None), found
    assert not found or (str(says) in found[0] and spelled(found[1]).startswith(str(hint)))
