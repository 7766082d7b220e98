"""The parts of a clip or document, as `clip` and `document` give them to `reader`."""

import hashlib
import os
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from virc.core.errors import DataError, errors_as
from virc.core.timeouts import check_stop
from virc.reasoning.media import MediaChoice, MediaPlace
from virc.solving.image_source import Loss
from virc_extras.video.worker import READER, Facts, Picture, Wish

_BEGINNING = 2**16


class MediaParts(msgspec.Struct, frozen=True):
    """The parts of a file that are shown; `summary` says in words what they are of what.

    `left_out` is what is not shown although nobody chose parts.
    """

    parts: Sequence[Picture]
    summary: str
    facts: Facts
    left_out: Sequence[Loss] = ()

    def warnings(self, name: str) -> Iterator[Loss]:
        """What is to be said of the file of that name."""
        yield from ((f"{name} {note}", None) for note in self.facts.notes)
        yield from self.left_out


class Medium(Protocol):
    """A kind of file; its module is one."""

    KIND: str
    """What a file is called, such as `clip`."""
    CHOICES: tuple[str, ...]
    """The fields of `MediaChoice` that it heeds."""

    def check_ready(self, name: str) -> None:
        """Raise SetupError if the package is missing that reads the file of that name."""

    def recognises(self, head: bytes) -> bool:
        """Whether a file that begins so is of this kind."""

    def parts(self, source: bytes | Path, name: str, choice: MediaChoice, check: Callable[[], None]) -> MediaParts:
        """The parts of a file that are shown at first.

        Args:
            source: its bytes, or where it is.
            check: called meanwhile; raises where nobody waits for the answer any more.

        Raises:
            DataError: it is damaged or over a limit, or has no such parts.
            SetupError: a package that reads it is missing.
        """

    def called(self, part: Picture, number: int, facts: Facts) -> str:
        """What a part is called, such as `frame 2 at 0:01`; `number` is that among those shown of the file, from 1."""


class StoredMedium(msgspec.Struct, frozen=True, omit_defaults=True):
    """A clip or document as a row names it: its path from the row's folder, its name, the rest as of `OpenedMedium`.

    `beginning` is the digest of its size and first bytes, by which another file at its path is known: one that changed,
    or one of this machine that the row's author does not have.
    """

    path: str
    kind: str
    name: str
    facts: Facts
    number: int | None = None
    beginning: str = ""


def digest_of_beginning(path: Path) -> str:
    """The SHA-256 of the size of a file and its first bytes. Raises OSError: it cannot be read."""
    with path.open("rb") as file:
        return hashlib.sha256(b"%d\n" % path.stat().st_size + file.read(_BEGINNING)).hexdigest()


class OpenedMedium(msgspec.Struct, eq=False):
    """A clip or document of a problem, which tools look into again.

    Args:
        content: its bytes, or where it is.
        number: of the file among those of the question, from 1; None: there is no other.
        beginning: as of `StoredMedium`, of a file that a row names; None: the user named it.
    """

    kind: Medium
    content: bytes | Path
    name: str
    number: int | None
    facts: Facts
    beginning: str | None = None

    def source(self) -> bytes | Path:
        """The file to look into. Raises DataError: it is not the one that its row was made of."""
        if isinstance(self.content, Path) and self.beginning is not None:
            with errors_as(DataError, f"{self.name} cannot be read"):
                if digest_of_beginning(self.content) != self.beginning:
                    sentence = f"{self.name} is not the file that its row was made of"
                    raise DataError(sentence, "convert the rows again (virc data convert)")
        return self.content

    def stored(self, folder: Path) -> StoredMedium | None:
        """How a row of a folder names it; None: there is no file on the disk."""
        if isinstance(self.content, bytes):
            return None
        facts = msgspec.structs.replace(self.facts, times=(), rounding=0, notes=())
        path, beginning = os.path.relpath(os.path.realpath(self.content), folder), digest_of_beginning(self.content)
        return StoredMedium(path, self.kind.KIND, self.name, facts, self.number, beginning)

    def times(self) -> Facts:
        """The times of a clip's frames, which are read when somebody asks for them."""
        if not self.facts.times:
            self.facts, _ = READER.pictures(self.kind.KIND, self.source(), self.name, Wish(times=True), check_stop)
        return self.facts

    def numbered(self, place: MediaPlace) -> MediaPlace:
        """The place of a frame with its number in the file, from 0."""
        timed, seconds = self.times(), place.seconds or 0.0
        return msgspec.structs.replace(place, frame=max(0, bisect_right(timed.times, seconds + timed.rounding) - 1))

    def place(self, part: Picture, number: int) -> MediaPlace:
        """Where a part is that is shown, as that number among those of this file."""
        line = f"{self.before}{self.kind.called(part, number, self.facts)}:"
        digest = hashlib.sha256(part.data).hexdigest()
        return MediaPlace(
            Path(self.name).name, number, line[0].upper() + line[1:], digest, part.seconds, part.page,
            length=self.facts.length or None,
        )  # fmt: skip

    def shows(self, place: MediaPlace) -> bool:
        """Whether a place is one of this file."""
        return place.line.lower().startswith(self.before)

    @property
    def before(self) -> str:
        """What the lines of its parts begin with where there are several files: its own number."""
        return f"{self.kind.KIND} {self.number}, " if self.number else ""
