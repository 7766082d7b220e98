"""The labelled pairs of answers of `pairs.jsonl`."""

from pathlib import Path

import msgspec

FILE = Path(__file__).with_name("pairs.jsonl")


class Pair(msgspec.Struct, frozen=True):
    """Two answers to one question, and whether a person finds them to say the same.

    Args:
        draft: 1 was written before the code, each other one after the code had been fitted to the drafts before.
        misread: whether virc finds the opposite, with algebra. It is recorded, so that a change is looked at.
    """

    category: str
    answer: str
    reference: str
    same: bool
    draft: int
    choices: tuple[str, ...] = ()
    misread: bool = False

    @property
    def recorded(self) -> bool:
        """What virc finds."""
        return self.same is not self.misread


def pairs() -> list[Pair]:
    """All pairs."""
    return [msgspec.json.decode(line, type=Pair) for line in FILE.read_bytes().splitlines()]
