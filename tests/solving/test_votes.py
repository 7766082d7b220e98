"""Votes on answers: which are one, who leads, and when nobody can overtake it."""

from itertools import product

import pytest

from virc.solving.votes import tally


@pytest.mark.parametrize(
    ("answers", "choices", "votes"),
    [
        (["0.5", "3", "1/2", "50%", r"\frac{1}{2}"], (), [("0.5", 4), ("3", 1)]),
        (["(B)", "57", "B. 102", "102"], ("57", "102"), [("(B)", 3), ("57", 1)]),
        ([None, "7", None], (), [("7", 1), (None, 2)]),
    ],
)
def test_answers_that_say_the_same_are_one_vote(
    answers: list[str | None], choices: tuple[str, ...], votes: list[tuple[str | None, int]]
) -> None:
    assert tally(answers, choices).votes == votes


@pytest.mark.parametrize("count", [2, 3])
def test_a_vote_is_decided_exactly_when_every_way_it_goes_on_ends_alike(count: int) -> None:
    kinds = ["1", "2", "3", "4", None]
    for done in range(count):
        for begun in product(kinds[:4], repeat=done):
            ends = {tally([*begun, *rest]).votes[0][0] for rest in product(kinds, repeat=count - done)}
            assert tally(begun).is_decided(count - done) == (len(ends) == 1), begun
