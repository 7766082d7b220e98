"""Types that drawn problems of every family share."""

import hashlib
from typing import Literal

import msgspec

from virc.reasoning.calls import Box

Split = Literal["train", "heldout"]
Difficulty = Literal["easy", "hard"]
Drawing = Literal[1, 2]
"""What problems are about: 1 asks for one printed angle in five, and refuses questions without sense."""
DIFFICULTIES: tuple[Difficulty, ...] = ("easy", "hard")
LARGEST = 448 * 448
"""Area of the largest picture that is shown as it is, px."""


class Label(msgspec.Struct, frozen=True):
    """A text on the page and the box of its ink, px."""

    text: str
    box: Box


def split_of(key: str) -> Split:
    """The split of a problem whose labels and question are `key`: one in ten is held out."""
    return "heldout" if hashlib.sha256(key.encode()).digest()[0] % 10 == 0 else "train"
