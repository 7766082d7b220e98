"""Letters of choices in replies about clips, as published programs read them."""

import re
from collections.abc import Sequence

from virc.evaluation.benchmarks.hub_rows import choice
from virc.evaluation.benchmarks.letters import LETTERS
from virc.evaluation.benchmarks.registry import Fields

_SHORT = 10  # words


def first_letter(answer: str, prefixes: Sequence[str], letters: str) -> str | None:
    """The first of the letters in a reply without the prefixes; None: there is none."""
    for prefix in prefixes:
        answer = answer.strip().replace(prefix, "")
    found = re.search(f"[{letters}]", answer)
    return found[0] if found else None


def chosen(number: int, choices: Sequence[str]) -> Fields:
    """The fields of a problem whose right choice has a number, from 0."""
    return choice(LETTERS[number] if 0 <= number < len(LETTERS) else "", choices)
