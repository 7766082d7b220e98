"""Sums as a small model carries them safely: one place of one number a step, written out as sentences."""

from collections.abc import Sequence


def places(number: int) -> list[int]:
    """A number as its hundreds, tens and units, without those that are 0."""
    return [part for part in (number // 100 * 100, number // 10 % 10 * 10, number % 10) if part]


def moved(value: int, by: Sequence[int]) -> tuple[list[str], int]:
    """Add numbers of any sign to a value: the steps, and what comes out."""
    steps = []
    for number in by:
        sign = "-" if number < 0 else "+"
        for part in places(abs(number)):
            after = value - part if number < 0 else value + part
            steps.append(f"{value} {sign} {part} = {after}.")
            value = after
    return steps, value


def divided(value: int, by: int) -> list[str]:
    """Take away the hundreds, the tens and the units of the quotient, each times the divisor."""
    steps = []
    for part in places(value // by) if by > 1 else ():
        steps += [f"{by} · {part} = {by * part}.", f"{value} - {by * part} = {value - by * part}."]
        value -= by * part
    return steps
