"""A run whose actor does not see the pictures of its rollouts ends at its first step with a sentence."""

from typing import Any

import pytest
from rl_engine import TINY, child

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

SEEDS = 30


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    """What ends each run, and how often its actor was asked; all in one process, whose start takes most of the time."""
    said: dict[str, Any] = child("sight_child.py", TINY, SEEDS)
    return said


def test_an_actor_that_sees_the_pictures_is_checked_once(found: dict[str, Any]) -> None:
    assert found["honest"] == [None, 4]  # twice as they are, and with each of two exchanged


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_no_honest_run_is_ended(found: dict[str, Any], dtype: str) -> None:
    assert found["seeds"][dtype] == [None] * SEEDS


@pytest.mark.parametrize(
    ("way", "sentence"),
    [
        ("missing", "the trainer does not see picture 1 of 2 of a rollout"),
        ("blank", "the trainer does not see picture 1 of 2 of a rollout"),
        ("first alone", "the trainer does not see picture 2 of 2 of a rollout"),
        ("exchanged", "the trainer does not see what the rollout saw"),
        ("unseen by a sampler in float32", "the trainer does not see what the rollout saw"),
        ("unseen by a sampler in bfloat16", "the trainer does not see what the rollout saw"),
    ],
)
def test_an_actor_that_does_not_ends_the_run(found: dict[str, Any], way: str, sentence: str) -> None:
    assert sentence in found[way][0]
