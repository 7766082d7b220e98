"""The parts of a clip or document, as `clip` and `document` give them to `reader`."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from virc.reasoning.media import MediaChoice


class MediaPart(msgspec.Struct, frozen=True):
    """A frame or page: the file of its picture, and what it is called, such as `frame 2 at 0:01`."""

    data: bytes
    name: str
    seconds: float | None = None
    page: int | None = None


class MediaParts(msgspec.Struct, frozen=True):
    """The parts of a file that are shown; `summary` says in words what they are of what.

    `left_out` is a sentence about parts that are not shown although nobody chose some, and what shows them.
    """

    parts: Sequence[MediaPart]
    summary: str
    left_out: tuple[str, str] | None = None


class Medium(Protocol):
    """A kind of file; its module is one."""

    KIND: str
    """What a file is called, such as `clip`."""
    CHOICES: tuple[str, ...]
    """The fields of `MediaChoice` that it heeds."""

    def recognises(self, head: bytes) -> bool:
        """Whether a file that begins so is of this kind."""

    def parts(self, source: bytes | Path, name: str, choice: MediaChoice, check: Callable[[], None]) -> MediaParts:
        """The parts of a file.

        Args:
            source: its bytes, or where it is.
            check: called meanwhile; raises where nobody waits for the answer any more.

        Raises:
            DataError: it is damaged or over a limit, or has no such parts.
            SetupError: a package that reads it is missing.
        """
