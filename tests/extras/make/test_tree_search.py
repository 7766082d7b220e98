"""Tree search visits what the UCB formula says, and what the published program visits."""

import json
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

from support.tables import each_case

from virc_zoo.thinklite_vl.operators.search import Found, Options, search

PUBLISHED = json.loads(Path(__file__).with_name("published_searches.json").read_text())
"""What mcts.py of si0wang/ThinkLite-VL@37fb148 found on toy trees, with `picks` for its random choices."""


class Picks(Random):
    """Chooses by a list of numbers."""

    def __init__(self, picks: Sequence[int]) -> None:
        self._picks = iter(picks)

    def choice(self, seq: Any) -> Any:
        return seq[next(self._picks)]


def toy(case: dict[str, Any]) -> tuple[Found, int]:
    """Search a toy tree; returns what was found and how many steps were drawn.

    The n-th step of all, at depth d, is the digit (a n + b d + n n) % 10; those of `finals` end a solution, and it is
    right where its digits add up to a multiple of `mod`.
    """
    drawn = count()

    def step(steps: Sequence[str]) -> str:
        n = next(drawn)
        digit = (case["a"] * n + case["b"] * len(steps) + n * n) % 10
        return f"Final Answer: {digit}" if digit in case["finals"] else f"{digit};"

    def value(steps: Sequence[str]) -> float:
        return float(sum(int(each.strip(";")[-1]) for each in steps) % case["mod"] == 0)

    return search(Options(), step, value, Picks(case["picks"])), next(drawn)


@each_case("case", PUBLISHED)
def test_a_search_goes_as_the_published_program_does(case: dict[str, Any]) -> None:
    found, drawn = toy(case)
    assert found.iterations == (None if case["iters"] is None else case["iters"] + 1)  # it counts from 0
    assert list(found.steps) == (case["solution"] or [])
    assert drawn == case["calls"]
    assert [child.visits for child in found.root.children] == case["root"]
    assert [[each.visits for each in child.children] for child in found.root.children] == case["deep"]
