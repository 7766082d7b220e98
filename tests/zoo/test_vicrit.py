"""The reward of ViCrit by hand: the program of its training is not published, so it stands alone."""

import asyncio
from typing import Any

import pytest

from virc.data.rows.record import Message, Record
from virc.rewards import registry as rewards
from virc.rewards import rollouts
from virc.rewards.means import Means, UnscoredError
from virc.rewards.sample import Prompt, Sample, sample
from virc_zoo.vicrit import vicrit_bench

THOUGHT = "<think>t</think>"


def read(reply: str, **columns: Any) -> Sample:
    record = Record((Message("user", "?"),), id="1", question="?", answer="a Green  ball", extra=columns)
    return sample(reply, Prompt(record))


def reward_of(reply: str) -> float | None:
    said = read(reply)
    return asyncio.run(rollouts.score([said], rollouts.ends(said), rewards.find("vicrit"), Means())).total


@pytest.mark.parametrize(
    ("reply", "reward"),
    [
        (THOUGHT + r"\boxed{a green ball}", 1),
        (THOUGHT + r'\boxed{["A green ball."]}', 1),
        (THOUGHT + "\\boxed{\n[ 'a green\nball' ]\n}", 1),
        (r"\boxed{a green ball}", 0.9),
        (THOUGHT + "\na green ball", 0.9),  # the last line, of a reply without a box
        (THOUGHT + r"\boxed{green ball}", 0.1),
        (THOUGHT + r"\boxed{a green ball on the lawn}", 0.1),
        (THOUGHT + r"\boxed{a red ball} or \boxed{a green ball}", 0.1),  # the first box
        ("a green ball\nperhaps", 0),
    ],
)
def test_only_the_wrong_phrase_itself_is_rewarded(reply: str, reward: float) -> None:
    assert reward_of(reply) == pytest.approx(reward)


@pytest.mark.parametrize("column", ["solution_original", "original_noun_phrases"])
def test_the_score_asks_for_the_first_new_word(column: str) -> None:
    scores = [vicrit_bench.contained(read(text, **{column: "A red ball"}), Means()) for text in ("GREENish", "ball")]
    assert scores == [1, 0]


def test_a_score_needs_the_true_phrase() -> None:
    with pytest.raises(UnscoredError, match="needs the column solution_original or original_noun_phrases"):
        vicrit_bench.contained(read("green"), Means())
