"""The rewards of a prompt's replies are compared as their total says, in verl's own trainer."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from rl_engine import child

from virc.rewards import registry as rewards
from virc.rewards.rollouts import Known
from virc.rewards.verl import LAST, Settings
from virc.systems.registry import Reward

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]


def said(score: float, calls: int, answer: str = "5") -> dict[str, Any]:
    """What the reward says of a rollout that called tools so often and answered."""
    terms = {"answer": score, "right": score, "failed": 0.0, "called": 0.0, "clip": 0.0}
    known = Known("answer", terms, {}, "answer", calls + 1, calls, answer, f"<answer>{answer}</answer>")
    return {"score": score, LAST: msgspec.json.encode(("virc", known)).decode()}


def settings(file: Path, reward: Reward) -> str:
    """A settings file of this reward."""
    file.write_bytes(msgspec.json.encode(Settings(rewards.located(reward), str(file.parent))))
    return str(file)


COMPARED = [
    ("a_0_0", False, said(1.0, 1)),
    ("b_0_0", False, said(1.0, 1)),
    ("a_1_0", False, said(1.0, 0)),
    ("a_2_0", False, said(0.0, 0)),
    ("b_1_0", False, said(1.0, 3)),
    ("a_3_0", False, said(0.0, 0)),
]
LEFT = [
    ("a_0_0", False, said(1.0, 2)),
    ("a_1_0", False, said(0.5, 0)),
    ("c_0_0", True, said(0.0, 0)),
    ("d_0_0", False, said(1.0, 0)),
    ("d_1_0", False, said(1.0, 2)),
]
RULED = [
    ("a_0_0", False, said(1.0, 0, "5")),
    ("a_1_0", False, said(1.0, 0, "5")),
    ("b_0_0", False, said(0.0, 0, "7")),
    ("a_2_0", False, said(0.0, 0, "7")),
    ("b_1_0", False, said(0.0, 0, "8")),
]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """What verl makes of both cases, in one process: to start it takes nearly all of the time."""
    folder = tmp_path_factory.mktemp("rewards")
    ruled = Reward("outcome", group={"reward": 1, "distinct": 0.5, "unlike": 0.1})
    rewarded = ((Reward("pixel_reasoner"), COMPARED), (Reward("outcome"), LEFT), (ruled, RULED))
    cases = [(settings(folder / f"{number}.json", reward), rows) for number, (reward, rows) in enumerate(rewarded)]
    found: list[Any] = child("groups_child.py", json.dumps(cases))
    return found


def test_advantages_are_of_what_a_group_makes_of_rewards(made: list[Any]) -> None:
    """Pixel Reasoner, by hand.

    Group a: one of four calls, p = 1/4, its bonus (0.3 - 0.25) / 2 * 0.25 / 0.25 = 0.025: 1.025, 1, 0, 0, mean 0.50625.
    Group b: both of two call, p = 1, no curiosity; the second calls three times, less 0.05 * 2: 1, 0.9, mean 0.95.
    """
    first, second, equal = made[0]
    rewards = [1.025, 1.0, 1.0, 0.0, 0.9, 0.0]
    means = [0.50625, 0.95, 0.50625, 0.50625, 0.95, 0.50625]
    assert [row[-1] for row in first["rm_scores"]] == pytest.approx(rewards)
    assert all(value == 0 for row in first["rm_scores"] for value in row[:-1])
    assert [len(row) for row in first["advantages"]] == [3, 4, 5, 6, 7, 8]
    for row, reward, mean in zip(first["advantages"], rewards, means, strict=True):
        assert row == pytest.approx([reward - mean] * len(row))
    assert second == first
    assert equal == []  # group b is right throughout, and yet its rewards differ


def test_a_total_without_a_group_leaves_rewards_as_they_are(made: list[Any]) -> None:
    """1 and 0.5 have the mean 0.75; the padding of verl is a group of its own; both of d are right."""
    first, _, equal = made[1]
    assert [row[-1] for row in first["rm_scores"]] == [1.0, 0.5, 0.0, 1.0, 1.0]
    assert [row[0] for row in first["advantages"]] == pytest.approx([0.25, -0.25, 0.0, 0.0, 0.0])
    assert equal == ["d"]


def test_rules_of_the_yaml_give_what_advantages_are_of(made: list[Any]) -> None:
    """1 + 0.5 of the share of other answers + 0.1 of the unlikeness, of texts of 18 characters, of which one differs.

    Group a: 5, 5, 7: half of the others differ, for 7 all. Group b: 7 and 8, both wrong, are equal, as before.
    """
    first, second, equal = made[2]
    rewards = [1 + 0.25 + 0.05 / 18, 1 + 0.25 + 0.05 / 18, 0.5 + 0.1 / 18, 0.5 + 0.1 / 18, 0.5 + 0.1 / 18]
    assert [row[-1] for row in first["rm_scores"]] == pytest.approx(rewards)
    mean = (2 * rewards[0] + rewards[3]) / 3
    advantages = [rewards[0] - mean, rewards[0] - mean, 0.0, rewards[3] - mean, 0.0]
    assert [row[0] for row in first["advantages"]] == pytest.approx(advantages, abs=1e-6)
    assert second == first
    assert equal == ["b"]
