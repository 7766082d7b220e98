"""Sums as a small model carries them out safely: one place of one number per step, written as sentences."""

from collections.abc import Sequence
from typing import Literal

from virc.data.synth.worked import FOUND, Solution, Spot

Ask = Literal["value", "sum", "difference", "total"]
"""What is asked of one number, of two, of two, or of three."""


def answer(ask: Ask, values: Sequence[int]) -> int:
    """The sum of the asked numbers, or the larger less the smaller; of one, itself."""
    return abs(values[0] - values[1]) if ask == "difference" else sum(values)


def solution(
    ask: Ask,
    asked: Sequence[str],
    values: Sequence[int],
    noun: str,
    spots: Sequence[Spot],
    needed: Sequence[int] | None = None,
) -> Solution:
    """Read the spots, then add or compare.

    Args:
        asked: names of the asked numbers, as the question has them.
        values: the asked numbers in the order in which they are read.
        noun: what a spot is.
        needed: indices of the spots of the asked numbers; None for all.
    """
    first, *others = [max(values), -min(values)] if ask == "difference" else values
    steps = moved(first, others)[0] or [FOUND]
    return Solution(noun, f"I need {' and '.join(asked)}.", spots, " ".join(steps), str(answer(ask, values)), needed)


def places(number: int) -> list[int]:
    """A number as its hundreds, tens and units, without those that are 0."""
    return [part for part in (number // 100 * 100, number // 10 % 10 * 10, number % 10) if part]


def moved(value: int, by: Sequence[int]) -> tuple[list[str], int]:
    """Add numbers of any sign to a value: the steps, and the result."""
    steps = []
    for number in by:
        sign = "-" if number < 0 else "+"
        for part in places(abs(number)):
            after = value - part if number < 0 else value + part
            steps.append(f"{value} {sign} {part} = {after}.")
            value = after
    return steps, value
