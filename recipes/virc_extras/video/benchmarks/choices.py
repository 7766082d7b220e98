"""Right choices by their number."""

from collections.abc import Sequence

from virc.evaluation.benchmarks.hub_rows import choice
from virc.evaluation.benchmarks.letters import LETTERS
from virc.evaluation.benchmarks.registry import Fields


def chosen(number: int, choices: Sequence[str]) -> Fields:
    """The fields of a problem whose right choice has a number, from 0."""
    return choice(LETTERS[number] if 0 <= number < len(LETTERS) else "", choices)
