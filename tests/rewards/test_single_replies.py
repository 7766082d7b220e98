"""Rewards of systems whose rollout is one reply, by hand; their programs hold them in `test_published_total.py`."""

import asyncio
from collections.abc import Iterator

import pytest

from virc.data.rows.record import Message, Record
from virc.rewards import registry as rewards
from virc.rewards import rollouts
from virc.rewards.means import Means
from virc.rewards.sample import Prompt, sample
from virc.scoring.symbolic import Symbolic
from virc.systems import registry as systems

SYSTEMS = ("thinklite-vl", "vision-g1", "actial")


@pytest.fixture(scope="module")
def means() -> Iterator[Means]:
    with Symbolic() as algebra:
        yield Means(symbolic=algebra)


def scored(total: rewards.Total, means: Means, reply: str, answer: str, **columns: str) -> rollouts.Rollout:
    """What a rollout of one reply is worth."""
    record = Record((Message("user", "?"),), question="?", answer=answer, extra=columns)
    read = sample(reply, Prompt(record))
    return asyncio.run(rollouts.score([read], rollouts.ends(read), total, means))


@pytest.mark.parametrize(
    ("reply", "right", "formed"),
    [
        (r"<think>a</think> \boxed{\frac{1}{2}}", 1, 1),
        (r"< think >a< / think > \boxed{1 / 2}", 1, 1),  # white space around marks does not count
        (r"\boxed{1/2} <think>a</think>", 1, 0),
        (r"So: <think>a</think> \boxed{1/2}", 1, 0),
        (r"<think>a</think> \boxed{1/2} \boxed{1/3}", 0, 1),  # the last box counts
        (r"<think>a</think> \boxed{1/2", 0, 0),
        ("", 0, 0),
    ],
)
def test_easy_r1_by_hand(reply: str, right: int, formed: int, means: Means) -> None:
    found = scored(rewards.find("easy_r1"), means, reply, "1/2")
    assert (found.terms, found.total) == ({"right": right, "formed": formed}, pytest.approx(0.9 * right + 0.1 * formed))


@pytest.mark.parametrize(("total", "formed"), [("easy_r1", 1), ("geo3k", 0)])
def test_geo3k_counts_white_space_and_neither_needs_a_box_where_none_is_right(
    total: str, formed: int, means: Means
) -> None:
    assert scored(rewards.find(total), means, r"< think >a</think> \boxed{5}", "5").terms["formed"] == formed
    assert scored(rewards.find(total), means, "I cannot tell.", "None").terms["right"] == 1


@pytest.mark.parametrize(
    ("reply", "reward"),
    [
        (r"<think>a</think> \boxed{[0, 0, 100, 50]}", 0.5),
        (r"\boxed{[0, 0, 100, 100] [5, 5, 6, 6]}", 1),  # the first counts
        (r"\boxed{[200, 200, 300, 300]}", 0),
        ("[0, 0, 100, 100]", 0),  # in no box
        (r"\boxed{(0, 0), (100, 100)}", 0),
    ],
)
def test_boxes_of_vision_g1_are_compared_as_numbers(reply: str, reward: float, means: Means) -> None:
    found = scored(rewards.find("vision_g1"), means, reply, "[0, 0, 100, 100]", data_source="vision_g1_bbox")
    assert (found.total, found.terms["right"]) == (pytest.approx(reward), None)


def test_a_long_reply_full_of_marks_is_read_in_no_time(means: Means) -> None:
    long = "<think>" + r"</think> <answer> \boxed{ " * 4_000 + " " * 40_000
    for system in SYSTEMS:
        used = systems.get(system).reward
        assert used
        assert scored(rewards.of(used), means, long, "5").total == 0
