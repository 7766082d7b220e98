"""Clips and documents of a problem as the pictures in them: each is one more image, with a line said before it."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import msgspec

from virc.core.errors import UsageError
from virc.core.events import Reporter
from virc.core.limits.problem import check_parts
from virc.core.timeouts import check_stop
from virc.reasoning.images import is_known
from virc.reasoning.media import USUAL_MEDIA, MediaChoice, MediaPart, MediaPlace, Medium, medium_of
from virc.solving.image_source import File, Picture, Source, read_head


class Unfolded(msgspec.Struct, frozen=True):
    """A picture of a problem.

    Args:
        file: of it.
        given: what it was given as; of a part of a clip or document, what that part is called.
        place: of such a part; None of a picture.
    """

    file: File
    given: Picture
    place: MediaPlace | None = None

    def __str__(self) -> str:
        """The line that a dry run prints."""
        return f"{self.place.source}: {self.place.line}" if self.place else f"{self.file[1]}: a picture"


def unfolded(
    source: Source, given: Picture, choice: MediaChoice = USUAL_MEDIA, number: int | None = None,
    report: Reporter | None = None, check: Callable[[], None] = check_stop,
) -> list[Unfolded]:  # fmt: skip
    """The pictures of a file: those of a clip or document, else itself.

    Args:
        number: of the file among several of the problem, which the lines then name.
        report: is told what is shown of what.
        check: called while a file is read; raises where nobody waits for the answer any more.

    Raises:
        DataError, SetupError: as of `Medium.parts`.
    """
    (content, name), medium = source, medium_in(source[0])
    if medium is None:
        assert isinstance(content, bytes)
        return [Unfolded((content, name), given)]
    found = medium.parts(content, name, choice, check)
    if report:
        report.note(found.summary)
    if report and found.left_out:
        report.warn(*found.left_out)
    before = f"{medium.KIND} {number}, " if number else ""
    return [_unfolded(part, index, name, before) for index, part in enumerate(found.parts, 1)]


def all_unfolded(
    sources: Sequence[Source], given: Iterable[Picture], choice: MediaChoice = USUAL_MEDIA,
    report: Reporter | None = None, check: Callable[[], None] = check_stop,
) -> list[Unfolded]:  # fmt: skip
    """The pictures of all files of a problem.

    Raises:
        UsageError: `choice` chooses in clips or documents, and there are none.
        DataError, SetupError: as `unfolded`.
    """
    check_choice(choice, sources)
    named = zip(sources, given, numbers_of(len(sources)), strict=True)
    found = [each for file, picture, number in named for each in unfolded(file, picture, choice, number, report, check)]
    check_parts(len(found))
    return found


def numbers_of(count: int) -> Sequence[int | None]:
    """The numbers of so many files in the lines of their pictures; one alone has none."""
    return range(1, count + 1) if count > 1 else [None] * count


def check_choice(choice: MediaChoice, sources: Sequence[Source]) -> None:
    """Refuse a choice of parts of files of which there are none. Raises UsageError."""
    media = [medium_in(content) for content, _ in sources]
    heeded = {choice for medium in media for choice in (medium.CHOICES if medium else ("pages",))}
    for name in choice.__struct_fields__:
        if getattr(choice, name) and name not in heeded:
            option, kind = ("--page", "a document or a picture") if name == "pages" else (f"--{name}", "a clip")
            raise UsageError(f"{option} chooses in {kind}, and there is none", f"leave {option} out")
    if None in media and len(choice.pages) > 1:
        raise UsageError("--page names several pages, and not all files are documents", "name one page of a picture")


def _unfolded(part: MediaPart, index: int, name: str, before: str) -> Unfolded:
    line, called = f"{before}{part.name}:", f"{part.name} of {name}"
    digest = hashlib.sha256(part.data).hexdigest()
    place = MediaPlace(Path(name).name, index, line[0].upper() + line[1:], digest, part.seconds, part.page)
    return Unfolded((part.data, called), called, place)


def medium_in(content: bytes | Path) -> Medium | None:
    """What reads a file that is a clip or a document; None: it is a picture, or nothing known."""
    head = content if isinstance(content, bytes) else read_head(content)
    return None if is_known(head) else medium_of(head)
