"""The rewards of Reason-RFT by hand, those of its overlays too; `published` has the replies of its program."""

import asyncio

import pytest

from virc.data.rows.record import Message, Record
from virc.rewards import registry as rewards
from virc.rewards import rollouts
from virc.rewards.context import RewardContext
from virc.rewards.sample import Prompt, sample
from virc.stages.resolve import resolve
from virc.systems import registry as systems

TWO = "change_size(0, 'large'), change_color(1, 'red')"


def scored(total: str, answer: str, reply: str) -> float | None:
    """What a rollout of one reply is worth."""
    read = sample(reply, Prompt(Record((Message("user", "?"),), question="?", answer=answer)))
    return asyncio.run(rollouts.score([read], rollouts.ends(read), rewards.find(total), RewardContext())).total


@pytest.mark.parametrize(
    ("said", "full", "partial", "penalty"),
    [
        (TWO, 1, 1, 1),
        ("change_size(0, large)", 0.5, 0.5, 0.5),
        ("change_size(0, 'small')", 0, 0.25, -0.125),  # half, and -0.25, of two
        ("change_size(2, 'large')", 0, 0.25, -0.125),
        ("change_size(2, 'small')", 0, 0.125, -0.25),
        (f"{TWO}, {TWO}", 0.5, 0.5, 0.5),
        ("nothing", 0, 0, 0),
    ],
)
def test_functions_right_in_part_count_by_the_overlay(said: str, full: float, partial: float, penalty: float) -> None:
    for overlays, worth in (((), full), (("partial",), partial), (("penalty",), penalty)):
        name = resolve(systems.get("reason-rft"), "transform-rl", overlays).config.reward.total
        assert scored(name, TWO, f"{TWO} <answer>{said}</answer>") == pytest.approx(worth), overlays
        assert scored(name, TWO, f"<think>t</think>\n<answer>{said}</answer>") == pytest.approx(worth + 1), overlays
