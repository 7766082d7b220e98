"""The reward of STAR-R1 by hand: its program is not published, so nothing else can be held against it."""

import asyncio

import pytest

from virc.data.rows.record import Message, Record
from virc.rewards import registry as rewards
from virc.rewards import rollouts
from virc.rewards.context import RewardContext
from virc.rewards.sample import Prompt, sample
from virc_zoo.star_r1 import star_r1


def reward_of(right: str, said: str) -> float | None:
    record = Record((Message("user", "?"),), id="1", question="?", answer=right)
    read = sample(f"<think>t</think><answer>{said}</answer>", Prompt(record))
    return asyncio.run(rollouts.score([read], rollouts.ends(read), rewards.find("star_r1"), RewardContext())).total


@pytest.mark.parametrize(
    ("right", "said", "reward"),
    [
        ("2.color.cyan", "2.color.cyan", 1 + 5),
        ("2.color.cyan", "2.COLOR.Cyan", 1 + 5),
        ("2.color.cyan", "2.color.red", 1 + 1.5),
        ("2.color.cyan", "2.size.small", 1 + 0.5),
        ("2.color.cyan", "1.color.cyan", 1 - 1),
        # hughplay/TVR, src/dataset/components/vectorizer.py, fmt_pair: a direction, and how many steps
        ("3.position.front-left.2", "3.position.front-left.2", 1 + 5),
        ("3.position.front-left.2", "3.position.front-right.2", 1 + 1.5),
        ("3.position.front-left.2", "3.position.front-left.1.", 1 + 1.5),
        ("2.color.cyan", "nothing", 1 - 1),
        ("2.color.cyan", "2.color.cyan, 2.color.cyan", 1 + 5),
        ("2.color.cyan", "2.color.red, 2.color.cyan", 1 + 5 - 1),  # the right one is taken by the best alone
        ("2.color.cyan", "0.color.cyan, 1.color.cyan, 2.color.cyan", 1 + 5 - 2),
        ("0.size.small, 1.color.red", "1.color.red", 1 + 5 - 1),
        ("0.size.small, 0.color.red", "0.color.red, 0.size.large", 1 + 5 + 1.5),
    ],
)
def test_each_change_is_rewarded_by_how_much_of_it_is_right(right: str, said: str, reward: float) -> None:
    assert reward_of(right, said) == pytest.approx(reward)


def test_numbers_with_points_are_no_changes() -> None:
    assert star_r1.changes("of 12.5.color.red, v1.2.color.red, 3.color.red.") == [("3", "color", "red")]
