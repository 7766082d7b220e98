"""Clips and documents: files that hold pictures, each at a time or on a page. Extras read them, the core shows them.

A module of an entry point in the group `virc.media` is a `Medium`; it is asked about a file that is no picture.
"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, cast

import msgspec

from virc.core import entry_points
from virc.core.errors import UsageError

HEAD = 1024
"""So many first bytes of a file tell what it is."""


class MediaChoice(msgspec.Struct, frozen=True, omit_defaults=True):
    """Which parts of clips and documents a problem shows; empty: the usual ones.

    Args:
        pages: of documents, from 1.
        at: times in clips, in seconds.
        fps: frames a second of a clip.
        frames: so many of a clip, evenly from its first to its last.
    """

    pages: tuple[int, ...] = ()
    at: tuple[float, ...] = ()
    fps: float | None = None
    frames: int | None = None

    def __post_init__(self) -> None:
        if sum(map(bool, (self.at, self.fps, self.frames))) > 1:
            raise UsageError("at, fps and frames each say which frames are shown", "leave all but one of them out")

    @property
    def page(self) -> int | None:
        """The page of a picture's file."""
        return self.pages[0] if self.pages else None


USUAL_MEDIA = MediaChoice()
_MAX_PAGE, _MAX_CHOSEN = 10**6, 1000
_TIME = re.compile(r"(?:(?:(\d{1,4}):)?(\d{1,4}):)?(\d{1,9}(?:\.\d{1,9})?)")
Times = float | str | Sequence[float | str]
Pages = int | str | Sequence[int | str]


def media_choice(
    page: Pages | None = None, at: Times | None = None, fps: float | None = None, frames: int | None = None
) -> MediaChoice:
    """Return which parts are shown, as a user writes it.

    Args:
        page: `3`, `2-5`, `1,4,7-9`, or a number.
        at: `12.5`, `1:02`, `1:02:03.5`, several with commas, or seconds.
        fps, frames: as of `MediaChoice`.

    Raises:
        UsageError: one is written otherwise, or over a limit.
    """
    pages = [number for each in _words(page) for number in _pages(each)]
    if fps is not None and not 0 < fps <= _MAX_CHOSEN:
        raise UsageError(f"fps must be over 0 and at most {_MAX_CHOSEN}, not {fps!r}")
    if frames is not None and (not isinstance(frames, int) or not 1 <= frames <= _MAX_CHOSEN):
        raise UsageError(f"frames must be a whole number from 1 to {_MAX_CHOSEN}, not {frames!r}")
    times = [_seconds(each) for each in _words(at)]
    if max(len(pages), len(times)) > _MAX_CHOSEN:
        raise UsageError(f"over {_MAX_CHOSEN} pages or times are named", "name fewer")
    return MediaChoice(tuple(dict.fromkeys(pages)), tuple(times), fps, frames)


def _words(given: Times | Pages | None) -> list[str]:
    if given is None:
        return []
    several = [given] if isinstance(given, str | int | float) else given
    return [word.strip() for each in several for word in str(each).split(",")]


def _pages(word: str) -> range:
    first, _, last = word.partition("-")
    try:
        found = range(int(first), int(last or first) + 1)
    except ValueError:
        found = range(0)
    if not found or found.start < 1 or found.stop > _MAX_PAGE:
        raise UsageError(
            f"page must be a whole number of at least 1, or a range, not {word!r}", "--page 3 or --page 2-5"
        )
    return found


def _seconds(word: str) -> float:
    if not (found := _TIME.fullmatch(word)):
        raise UsageError(f"at is {word!r}, which is no time", "--at 12.5 or --at 1:02")
    hours, minutes, seconds = found.groups()
    return 3600 * int(hours or 0) + 60 * int(minutes or 0) + float(seconds)


class MediaPlace(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a picture comes from.

    Args:
        source: the name of the clip or document, without its folder.
        index: of this picture among those that are shown of it, from 1.
        line: what the model is told before the picture.
        sha256: of the bytes that are shown.
    """

    source: str
    index: int
    line: str
    sha256: str
    seconds: float | None = None
    page: int | None = None


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
    """The module of an entry point."""

    KIND: str
    """What a file is called, such as `clip`."""
    CHOICES: tuple[str, ...]
    """The fields of `MediaChoice` that it heeds."""

    def recognises(self, head: bytes) -> bool:
        """Whether a file that begins so is of this kind."""

    def parts(self, source: bytes | Path, name: str, choice: MediaChoice, check: Callable[[], None]) -> MediaParts:
        """The parts of a file.

        Args:
            source: its bytes, or where it lies.
            check: called meanwhile; raises where nobody waits for the answer any more.

        Raises:
            DataError: it is damaged or over a limit, or has no such parts.
            SetupError: a package that reads it is missing.
        """


def medium_of(head: bytes) -> Medium | None:
    """What reads a file that begins so, and is no picture."""
    for name, module in entry_points.modules("virc.media").items():
        members = ("KIND", "CHOICES", "recognises", "parts")
        medium = cast(Any, entry_points.load("virc.media", "medium", name, module, members))
        if medium.recognises(head):
            return cast(Medium, medium)
    return None
