"""Clips and documents of a problem as the pictures in them: what the core asks of this extra (`virc.hooks`)."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import msgspec

from virc.core.errors import DataError, UsageError, errors_as
from virc.core.events import Reporter
from virc.core.text import plain
from virc.reasoning.images import is_known, parse_header, readable
from virc.reasoning.media import FILES, MediaChoice
from virc.solving.image_source import Loss, Source, Unfolded, read_head
from virc.solving.image_source import Picture as Given
from virc.solving.sources.columns import key_of
from virc_extras.video import clip, document
from virc_extras.video.choosing import choice_in_row, choice_of
from virc_extras.video.columns import files_in, media_of
from virc_extras.video.kinds import HEAD
from virc_extras.video.limits import MAX_PICTURES
from virc_extras.video.parts import Medium, OpenedMedium, StoredMedium
from virc_extras.video.worker import Picture

__all__ = ["choice_of", "medium_of", "unfolded"]

_MEDIA = cast(Sequence[Medium], (clip, document))
_MAX_KEPT = 1024  # media of rows, of which the times of frames are kept
_FORMATS = "; clips: MP4, QuickTime, Matroska, WebM, AVI, MPEG, VOB, WMV, FLV, Ogg, MXF, RealMedia, IVF; documents: PDF"


def medium_of(head: bytes, as_clip: bool = False) -> Medium | None:
    """What reads a file that begins so; `as_clip`: of a moving picture all frames are meant."""
    media = _MEDIA if not is_known(head) else [cast(Medium, clip)] if as_clip else []
    return next((each for each in media if each.recognises(head)), None)


def unfolded(
    sources: Iterable[Source], given: Sequence[Given], choice: MediaChoice, report: Reporter | None,
    check: Callable[[], None], strict: bool, row: Mapping[str, Any] = {},
) -> Iterator[Unfolded]:  # fmt: skip
    """Yield the pictures of files, each file when it is reached; arguments and errors as of the core's `unfolded`."""
    of_videos = [each for name, value in row.items() if key_of(name).startswith("video") for each in files_in(value)]
    has_times = choice.at if strict else any(choice.at)  # at 0, as `virc mcp` has it, a picture is meant, too
    as_clips = [bool(has_times or choice.fps or choice.frames) or each in of_videos for each in given]
    if strict:
        sources = [*sources]
        media = [medium_in(source, as_clip) for source, as_clip in zip(sources, as_clips, strict=True)]
        for (content, name), medium in zip(sources, media, strict=True):  # before the choice is refused
            if isinstance(content, bytes) and not medium:
                check_known(content[:HEAD], name)
        check_choice(choice, media)
    clips = (each for value in media_of({**row, "images": given}).values() for each in files_in(value))
    shown = {each for each in given if isinstance(each, str)}
    if left := next((each for each in clips if isinstance(each, str) and each not in shown), None):
        sentence = f"it has pictures, and the clip or document {plain(left, 80)}, of which nothing is shown"
        raise DataError(sentence, "virc data convert ROWS --to DIR --format batch shows both; or leave its column out")
    count = 0
    for number, (source, picture, as_clip) in enumerate(zip(sources, given, as_clips, strict=True), 1):
        medium, of_several = medium_in(source, as_clip), number if len(given) > 1 else None
        for each in _pictures(source, picture, medium, choice, row, of_several, report, check):
            count += 1
            if each.place and count > MAX_PICTURES:
                sentence = f"the clips and documents have over {MAX_PICTURES} pictures together"
                raise DataError(sentence, "«--frames» and «--page» show fewer")
            yield each


def opened_again(given: object, count: int) -> list[OpenedMedium | None]:
    """The `count` files of a row's question, by what the row says of them. Raises DataError: it is something else."""
    with errors_as(DataError, f"its {FILES} cannot be read", caught=msgspec.ValidationError):
        files = msgspec.convert(given, list[StoredMedium | None])
    if len(files) != count:
        raise DataError(f"its {FILES} has {len(files)} files, and its question {count}")
    return [_opened_again(each) if each else None for each in files]


@lru_cache(_MAX_KEPT)
def _opened_again(stored: StoredMedium) -> OpenedMedium:
    medium = next((each for each in _MEDIA if stored.kind == each.KIND), None)
    if medium is None:
        raise DataError(
            f"its {FILES} has the kind {stored.kind!r}", f"a kind is {' or '.join(each.KIND for each in _MEDIA)}"
        )
    path = Path(stored.path)
    return OpenedMedium(medium, path, stored.name, stored.number, stored.facts, stored.beginning)


def check_choice(choice: MediaChoice, media: Collection[Medium | None]) -> None:
    """Refuse a choice of parts of files of which there are none; None is a picture. Raises UsageError."""
    heeded = {name for medium in media for name in (medium.CHOICES if medium else ("pages",))}
    for name in choice.__struct_fields__:
        if getattr(choice, name) and name not in heeded:
            option, kind = ("«--page»", "a document or a picture") if name == "pages" else (f"«--{name}»", "a clip")
            raise UsageError(f"{option} chooses in {kind}, and there is none", f"leave {option} out")
    if None in media and len(choice.pages) > 1:
        raise UsageError("«--page» names several pages, and not all files are documents", "name one page of a picture")


def check_known(head: bytes, name: str) -> None:
    """Refuse what is no picture either. Raises DataError: it names the formats of all kinds."""
    if is_known(head):
        return
    try:
        parse_header(head, name)
    except DataError as error:
        if error.hint and error.hint.endswith(readable()[-1]):
            error.hint += _FORMATS
        raise


def medium_in(source: Source, as_clip: bool) -> Medium | None:
    return medium_of(source[0][:HEAD] if isinstance(source[0], bytes) else read_head(source[0]), as_clip)


def _pictures(
    source: Source, picture: Given, medium: Medium | None, choice: MediaChoice, row: Mapping[str, Any],
    number: int | None, report: Reporter | None, check: Callable[[], None],
) -> Iterable[Unfolded]:  # fmt: skip
    content, name = source
    if medium is None:
        assert isinstance(content, bytes)
        check_known(content[:HEAD], name)
        return [Unfolded((content, name), picture)]
    chosen = choice_in_row(choice, row) if "at" in medium.CHOICES else choice
    found = medium.parts(content, name, chosen, check)
    if report:
        report.note(found.summary)
    opened = OpenedMedium(medium, content, name, number, found.facts)
    said = [*found.warnings(name)]
    return (_unfolded(opened, part, index, said) for index, part in enumerate(found.parts, 1))


def _unfolded(opened: OpenedMedium, part: Picture, number: int, said: Sequence[Loss]) -> Unfolded:
    called = f"{opened.kind.called(part, number, opened.facts)} of {opened.name}"
    return Unfolded((part.data, called), called, opened.place(part, number), opened, said if number == 1 else ())
