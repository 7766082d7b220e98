"""Clips and documents: files that hold pictures, each at a time or on a page. An extra reads them."""

import os
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from virc.core import entry_points
from virc.core.errors import DataError, UsageError
from virc.reasoning.protocol import FRAME, Protocol, fill

PLACES = "image_places"
"""The column of a row that says where each picture of its question comes from; null of one that is no frame or page."""
FILES = "image_media"
"""The column of a row with the clips and documents of its question, for tools that look into them again."""
MOST_CHOSEN, LAST_PAGE = 1000, 10**6
"""Most parts of a file that can be named, and the last number of a page."""
Page = Annotated[int, Meta(ge=1, le=LAST_PAGE)]
Times = float | str | Sequence[float | str]
Pages = int | str | Sequence[int | str]


class MediaChoice(msgspec.Struct, frozen=True, omit_defaults=True):
    """Which parts of clips and documents are shown, and which page of a picture's file; empty: the usual ones.

    Args:
        pages: from 1.
        at: times in seconds.
        fps: frames a second.
        frames: so many, evenly from the first to the last.
    """

    pages: Annotated[tuple[Page, ...], Meta(max_length=MOST_CHOSEN)] = ()
    at: Annotated[tuple[Annotated[float, Meta(ge=0, le=LAST_PAGE)], ...], Meta(max_length=MOST_CHOSEN)] = ()
    fps: Annotated[float, Meta(gt=0, le=MOST_CHOSEN)] | None = None
    frames: Annotated[int, Meta(ge=1, le=MOST_CHOSEN)] | None = None


USUAL_MEDIA = MediaChoice()


class MediaPlace(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a picture comes from.

    Args:
        source: the name of the clip or document, without its folder.
        index: of this picture among those that are shown of it, from 1.
        line: what the model reads before the picture.
        sha256: of the bytes of the picture's file.
        frame: number of a frame in the file of its clip, from 0; None: it was not asked for.
        length: of its clip in seconds, up to the end of the last frame.
    """

    source: str
    index: int
    line: str
    sha256: str
    seconds: float | None = None
    page: int | None = None
    frame: int | None = None
    length: float | None = None

    @property
    def label(self) -> str:
        """What a caption calls it, such as `frame 3 at 0:02`."""
        return self.line.rstrip(":").lower()


def places_of(fields: Mapping[str, Any], count: int) -> list[MediaPlace | None]:
    """Where each of the `count` pictures of a row's question comes from. Raises DataError: `image_places` is wrong."""
    if fields.get(PLACES) is None:
        return [None] * count
    try:
        places = msgspec.convert(fields[PLACES], list[MediaPlace | None])
    except msgspec.ValidationError as error:
        raise DataError(f"its {PLACES} cannot be read: {error}") from None
    if len(places) != count:
        raise DataError(f"its {PLACES} has {len(places)} places, and it has {count} images")
    return places


def lines_of(places: Sequence[MediaPlace | None], protocol: Protocol) -> list[str]:
    """What the model reads right before each picture. Raises DataError: a place lacks what the line of frames says."""
    return [_line_of(each, protocol) if each else "" for each in places]


def _line_of(place: MediaPlace, protocol: Protocol) -> str:
    if protocol.frame_line is None or place.seconds is None:
        return place.line
    if FRAME in protocol.frame_line and place.frame is None:
        raise DataError(
            f"{place.line} has no number in the file of its clip", "convert the rows again from their clips"
        )
    return fill(protocol.frame_line, frame=place.frame, number=place.index, seconds=f"{place.seconds:g}")


def number_frame(shown: Any, protocol: Protocol) -> None:
    """Find the number of a frame in its clip's file, if the chat protocol says it (`Shown`, whose place it changes)."""
    wants_number = shown.medium and FRAME in (protocol.frame_line or "")
    if wants_number and shown.place.seconds is not None and shown.place.frame is None:
        shown.place = shown.medium.numbered(shown.place)


def files_from(fields: Mapping[str, Any], base: Path, to: Path | None = None) -> dict[str, Any]:
    """`image_media` of a row of the folder `base`, if it has it, for a row in the folder `to`; None: of any folder."""
    if not isinstance(files := fields.get(FILES), list):
        return {}

    def placed(file: Any) -> Any:
        if not isinstance(file, Mapping) or not isinstance(file.get("path"), str):
            return file  # who opens it says what is wrong
        whole = os.path.realpath(base / file["path"])
        return {**file, "path": os.path.relpath(whole, os.path.realpath(to)) if to else whole}

    return {FILES: [placed(each) for each in files]}


def give_media(images: Sequence[Any], fields: Mapping[str, Any], base: Path = Path()) -> None:
    """Give pictures of a row's question (`Shown`) their places, and the clips and documents that tools look into.

    `base` is the folder of the row.

    Raises:
        DataError: `image_places` or `image_media` is wrong.
    """
    places = places_of(fields, len(images))
    for shown, place in zip(images, places, strict=True):
        shown.place = shown.place or place  # that of the clip which the row itself names
    if fields.get(FILES) is not None and (reader := media_reader()):
        counts = parts_of_files(places)
        files = reader.opened_again(files_from(fields, base).get(FILES, fields[FILES]), len(counts))
        media = [medium for medium, count in zip(files, counts, strict=True) for _ in range(count)]
        for shown, medium in zip(images, media, strict=True):
            shown.medium = medium or shown.medium


def parts_of_files(places: Sequence[MediaPlace | None]) -> list[int]:
    """How many pictures each file of the question has; a clip or document may have several."""
    starts = [number for number, each in enumerate(places) if each is None or each.index == 1]
    return [end - start for start, end in pairwise([*starts, len(places)])]


def media_reader(name: str = "reader") -> Any:
    """The module that reads clips and documents, or rows that name some (`rows`); None: the extra is not installed."""
    return entry_points.hook(f"media.{name}")


def is_medium(head: bytes) -> bool:
    """Whether a file that begins so is a clip or a document that can be read."""
    return bool((reader := media_reader()) and reader.medium_of(head))


def media_choice(
    page: Pages | None = None, at: Times | None = None, fps: float | None = None, frames: int | None = None
) -> MediaChoice:
    """Return which parts are shown, as a user writes it. Raises UsageError: one is written otherwise."""
    if reader := media_reader():
        chosen: MediaChoice = reader.choice_of(page, at, fps, frames)
        return chosen
    if at or fps or frames:
        raise entry_points.not_installed("that reads clips")
    number = str(page[0] if isinstance(page, Sequence) and len(page) == 1 else page)
    if page is not None and not (number.isdecimal() and int(number)):
        raise UsageError(f"page must be a whole number of at least 1, not {page!r}")
    return MediaChoice(() if page is None else (int(number),))
