"""Sums as a small model carries them out safely: one place of one number per step, written as sentences."""

from collections.abc import Sequence


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


def divided(value: int, by: int) -> list[str]:
    """Subtract the hundreds, the tens and the units of the quotient, each times the divisor."""
    steps = []
    for part in places(value // by) if by > 1 else ():
        steps += [f"{by} · {part} = {by * part}.", f"{value} - {by * part} = {value - by * part}."]
        value -= by * part
    return steps


def combined(values: Sequence[int], difference: bool) -> int:
    """The sum of some values, or the larger of two less the smaller."""
    return abs(values[0] - values[1]) if difference else sum(values)


def combining(values: Sequence[int], difference: bool) -> list[str]:
    """The steps to what `combined` gives; none for a single value."""
    first, *others = [max(values), -min(values)] if difference else values
    return moved(first, others)[0]
