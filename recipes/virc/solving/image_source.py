"""Where a picture comes from: a path, an http(s) URL, a data URL or standard input."""

import base64
import binascii
import errno
import io
import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from os import PathLike
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote_to_bytes, urlsplit
from urllib.request import url2pathname

import msgspec
from PIL import Image

from virc.config.user import names_user
from virc.core.errors import DataError, NetworkError, errors_as
from virc.core.events import Reporter
from virc.core.files import as_named, expanded, is_file, is_folder, is_path, near_file, picture_within
from virc.core.http.fetch import Fetch, FetchError, Rules
from virc.core.retry import retried
from virc.core.text import clause, counted, plain
from virc.core.timeouts import Deadline, LateError, check_stop, within
from virc.reasoning.images import MAX_BYTES, OpenedImage, Shown, decoding, page_of, parse_header, seek_page
from virc.reasoning.media import MediaChoice, MediaPlace, is_medium, media_reader
from virc.reasoning.opening.pictures import as_shown, read
from virc.reasoning.pixels.appearance import has_gain_map
from virc.reasoning.pixels.aspects import NOTES
from virc.reasoning.protocol import Protocol
from virc.reasoning.resize import Grid
from virc.solving.memory_images import InMemory, file_of_memory

Picture = str | PathLike[str] | InMemory
"""A path, URL or `-` for standard input; or a picture in memory."""
File = tuple[bytes, str]
"""The bytes of a picture, and what the user calls it, for messages."""
Source = tuple[bytes | Path, str]
"""The same of what may be a clip or document too, which stays on the disk."""
Loss = tuple[str, str | None]
"""What is not shown as a file has it: a sentence, and a hint or None."""
Fields = dict[str, Any]
STREAM = "-"
SECONDS = 60.0
_MAX_FETCHED = 64 * 2**20
_TO_BASE64 = bytes.maketrans(b"-_", b"+/")  # from the alphabet of URLs
_MAX_ESCAPES = 2**18  # of a data URL: each takes a hundred bytes while it is read
_MAX_FRAMES = 1000
_QUICKLY_COUNTED = 4 * 2**20  # bytes of a client's file whose frames are counted: half a second a MiB of small ones
_HEAD = 1024  # bytes of a file that tell what it is
_TRIES, _FIRST_PAUSE = 3, 0.4  # seconds
_MP_ENTRIES = 0xB002  # of an MPO (CIPA DC-007)
_FULL_RANGES = ((0, 1.0), (0, 255), (0, 65535))  # of floats, 8 and 16 bits: shown without a loss
_HINTS = {"address": "download the picture first", "redirect": "download the picture first"}


TRUST = "name files below their folder and public addresses, or «--trust-rows» for rows of your own"


def source_of(
    source: str, base: Path = Path(), offline: bool = False, seconds: float | None = None, trusted: bool = True,
    pipes: bool = False,
) -> Source:  # fmt: skip
    """Return the file of a picture named by a user, and its name for messages.

    Of a clip or document on the disk it is the path.

    Args:
        seconds: bound of a fetch.
        trusted: whether the user named it; a row that others may have made names files below `base` and public
            addresses.
        pipes: whether it may be no regular file: a pipe is waited for.
    """
    if source == "-":
        content = standard_input().read(MAX_BYTES + 1)
        if not content:
            raise DataError("standard input is empty", "virc solve - 'question' < picture.png")
        return content, "standard input"
    if source[:5].lower() == "data:":
        return data_url_bytes(source), "the data URL"
    is_path_of_row = not trusted and not re.match(r"https?://", source, re.IGNORECASE)
    if is_path_of_row:
        try:
            path = picture_within(base, str(expanded(source)) if source[:1] == "~" else source)
        except OSError as error:
            sentence = f"{source} is outside of the folder of the rows" if error.errno == errno.EPERM else clause(error)
            raise DataError(sentence, TRUST if error.errno == errno.EPERM else None) from None
        return _read_file(path, source, pipes), source
    if source[:7].lower() == "file://":
        return _read_file(path_of(source), source, pipes), source
    if not re.match(r"https?://", source, re.IGNORECASE):
        path = base / expanded(source)
        with suppress(OSError, ValueError):  # several have that name, or none can: reading it says so
            path = as_named(base, str(expanded(source)))
        try:
            return _read_file(path, source, pipes), source
        except DataError as error:
            error.hint = error.unspelled_hint or (None if is_path(path) else near_file(path))
            raise
    if names_user(source):
        place = re.sub("//[^/?#]*@", "//", source, count=1)
        raise DataError(f"{place} holds a user and password, which are not sent", "download the picture first")
    if offline:
        forbidden = NetworkError(f"{source} is on the network, and «--offline» forbids it")
        forbidden.remedy = "leave «--offline» out"
        raise forbidden
    source = source.strip().replace(" ", "%20")  # addresses are copied from pages with their spaces
    return _fetch(source, SECONDS if seconds is None else min(SECONDS, seconds), trusted), source


def _read_file(path: Path, name: str, pipes: bool) -> bytes | Path:
    if not pipes and is_path(path) and not (is_file(path) or is_folder(path)):
        raise DataError(f"{name} is no regular file", "name a file: only virc solve waits for a pipe")
    head = read_head(path) if is_file(path) else b""
    return path if head and is_medium(head) else read(path, name)


def read_head(path: Path) -> bytes:
    """The first bytes of a file, by which its kind is known; none where it cannot be read."""
    with suppress(OSError), path.open("rb") as file:
        return file.read(_HEAD)
    return b""


def is_pipe(source: Picture) -> bool:
    return isinstance(source, str | PathLike) and is_path(Path(source)) and Path(source).is_fifo()


def path_of(url: str) -> Path:
    host, path = urlsplit(url).netloc, url2pathname(urlsplit(url).path)
    if host not in ("", "localhost"):
        raise DataError(f"{url} is a file of the machine {host}", "file:///PATH has three slashes")
    return Path(path)


def page_file(file: File, page: int, source: Picture | None = None) -> File:
    """A page or frame of a file, counted from 1, as a file of its own; a DataError if it has no such page."""
    data, name = file
    called = f"page {page} of {name}"
    if not isinstance(source, Image.Image):
        return file_of_memory(page_of(data, name, page), called)
    with decoding(name):
        before = source.tell()
        try:
            seek_page(source, page, name)
            return file_of_memory(source, called)
        finally:
            source.seek(before)


def looked_at(
    file: File, source: Picture, picture: OpenedImage | Shown, page: int | None = None, max_counted: int = 32 * 2**20
) -> Fields:
    """The fields of a picture in `virc.solve/1`: its frames, which of them is shown, how, and how much smaller."""
    frames, shown = _frames(file[0], source, max_counted)
    rendering = msgspec.json.decode(msgspec.json.encode(picture.rendering))  # a list, as JSON has it
    seen = {"frames": frames, "shown": page or shown, **rendering}
    return seen | {"scaled": scaled(picture) if isinstance(picture, Shown) else None}


def scaled(shown: Shown) -> float:
    return round(shown.sent[0] / (shown.original or shown.size)[0], 4)


def with_scales(pictures: Sequence[Fields], shown: Sequence[Shown]) -> list[Fields]:
    """The fields of pictures with how much smaller they are shown, and of clips and documents with their place."""
    places = ({"place": msgspec.to_builtins(each.place)} if each.place else {} for each in shown)
    return [seen | {"scaled": scaled(each)} | next(places) for seen, each in zip(pictures, shown, strict=True)]


def losses(pictures: Sequence[Fields], sources: Sequence[Picture]) -> list[str]:
    return [sentence for sentence, _ in _losses(pictures, sources)]


def _losses(pictures: Sequence[Fields], sources: Sequence[Picture]) -> Iterator[Loss]:
    for number, (seen, source) in enumerate(zip(pictures, sources, strict=True), 1):
        has_name = isinstance(source, str | PathLike) and not str(source).startswith(("data:", STREAM))
        name = plain(source, 80) if has_name else f"picture {number}"
        if has_name and "\\" in str(source) and not is_path(str(source)):
            yield f"{name} is read with / in place of \\", None
        if seen["shown"] == 1 < seen["frames"]:
            others = "the second is" if seen["frames"] == 2 else f"{seen['frames'] - 1} of them are"
            yield f"{name} has {seen['frames']} frames, and {others} not looked at", "«--page N» shows another"
        if seen["background"] not in (None, "white") and not seen["missing"]:
            hides = "white would hide what it shows"
            yield f"{name} is transparent, and is shown on {seen['background']}: {hides}", None
        if seen["missing"]:
            pixels = counted(seen["missing"], "pixel")
            yield f"{name} has {pixels} without a finite number, shown as {seen['background']} background", None
        for note in seen["notes"]:
            yield f"{name} {NOTES[note][1]}", None
        low, high = seen["range"] or (0, 255)
        is_integer_to_1 = high == 1 and isinstance(high, int)  # 0 and 1 of 8 bits are not the 0 to 1.0 of floats
        if (min(low, high), max(low, high)) not in _FULL_RANGES or is_integer_to_1:
            yield f"{name} is shown from {low:g}, as black, to {high:g}, as white", None


def _frames(data: bytes, source: Picture, max_counted: int) -> tuple[int, int]:
    """How many frames a picture has, and which is shown, from 1."""
    try:
        is_ours = not isinstance(source, Image.Image)
        image = source if isinstance(source, Image.Image) else parse_header(data, "it")
        shown = 1 if is_ours else image.tell() + 1  # a HEIC may open with another picture than that it stores first
        is_slow = is_ours and image.format == "GIF" and len(data) > max_counted
        return (1 if is_slow else _counted(image, data if is_ours else None)), shown
    except Exception:  # decoders raise nearly everything on hostile bytes; the first frame was read all the same
        return 1, 1


def _counted(image: Image.Image, data: bytes | None) -> int:
    """How many frames a picture has, whose file is `data`; None: it is the object of a caller."""
    if image.format == "MPO":  # of which previews and gain maps of the first are no pictures of their own
        further = image.mpinfo[_MP_ENTRIES][1:]  # type: ignore[attr-defined]
        # gain maps have the type `Undefined`, as have all pictures that Pillow writes
        own = ("Multi-Frame",) if has_gain_map(data or image.info.get("xmp", b"")) else ("Multi-Frame", "Undefined")
        return 1 + sum(str(each["Attribute"]["MPType"]).startswith(own) for each in further)
    if image.format != "TIFF" or data is None:
        return int(getattr(image, "n_frames", 1))
    count = 1
    with suppress(EOFError):
        while count < _MAX_FRAMES:
            image.seek(count)
            count += 1
    return count


def as_list(image: Picture | Sequence[Picture]) -> list[Picture]:
    several = isinstance(image, Sequence) and not isinstance(image, str | bytes | bytearray | memoryview)
    given: list[Any] = [*image] if several else [image]  # type: ignore[misc]
    return given


def sources_of(
    pictures: Sequence[Picture], offline: bool = False, deadline: Deadline | None = None, base: Path = Path(),
    trusted: bool = True, pipes: bool = False,
) -> list[Source]:  # fmt: skip
    files = list[Source]()
    for number, picture in enumerate(pictures, 1):
        if isinstance(picture, str | PathLike):
            left = deadline.left() if deadline else None
            files.append(source_of(os.fspath(picture), base, offline, left, trusted, pipes))
        else:
            files.append(file_of_memory(picture, "the picture" if len(pictures) == 1 else f"picture {number}"))
    return files


def files_of(
    pictures: Sequence[Picture], offline: bool = False, deadline: Deadline | None = None, base: Path = Path(),
    trusted: bool = True, pipes: bool = False,
) -> list[File]:  # fmt: skip
    """The files of pictures alone. Raises DataError: one is a clip or a document."""
    sources = sources_of(pictures, offline, deadline, base, trusted, pipes)
    if other := next((name for content, name in sources if isinstance(content, Path)), None):
        raise DataError(
            f"{other} is a clip or a document, and a picture is needed", "virc solve and virc batch take it"
        )
    return [(read(source, name), name) for source, name in sources]


class Unfolded(msgspec.Struct, frozen=True):
    """A picture of a problem.

    Args:
        given: what it was given as; of a part of a clip or document, what that part is called.
        place: of such a part; None of a picture.
        said: of the first part, what of its file is not shown as it is: sentences, each with a hint or None.
    """

    file: File
    given: Picture
    place: MediaPlace | None = None
    medium: Any = None  # as of `Shown`
    said: Sequence[Loss] = ()


def said_of(parts: Iterable[Unfolded]) -> list[str]:
    return [sentence for part in parts for sentence, _ in part.said]


def warnings_of(parts: Sequence[Unfolded], pictures: Sequence[OpenedImage | Shown]) -> list[str]:
    """What is not shown of a client's pictures, clips and documents, in sentences."""
    both = zip(parts, pictures, strict=True)
    seen = [looked_at(part.file, part.given, each, max_counted=_QUICKLY_COUNTED) for part, each in both]
    return said_of(parts) + losses(seen, [each.given for each in parts])


def report_losses(
    parts: Sequence[Unfolded], pictures: Sequence[OpenedImage], page: int | None, report: Reporter
) -> Fields:
    """Say what is not shown of the pictures; `page` is that shown of each, where none is a part of another file."""
    page = None if any(each.place for each in parts) else page
    seen = [looked_at(each.file, each.given, image, page) for each, image in zip(parts, pictures, strict=True)]
    warnings = [*chain(*(each.said for each in parts)), *_losses(seen, [each.given for each in parts])]
    for sentence, hint in warnings:
        report.warn(sentence, hint)
    return {"pictures": seen, "warnings": [sentence for sentence, _ in warnings]}


def unfolded(
    sources: Iterable[Source], given: Sequence[Picture], choice: MediaChoice, report: Reporter | None = None,
    check: Callable[[], None] = check_stop, strict: bool = False, row: Mapping[str, Any] = {},
) -> Iterator[Unfolded]:  # fmt: skip
    """Yield the pictures of files: those in a clip or document, else the file itself.

    Args:
        report: is told what is shown of what.
        check: called while a file is read; raises where nobody waits for the answer any more.
        strict: whether a choice of parts that no file has is refused.
        row: the fields of a row, which may say what part of its clip it is about.

    Raises:
        UsageError: it is.
        DataError: a file is damaged or over a limit, has no such parts, or all have too many.
        SetupError: a package that reads it is missing.
    """
    if reader := media_reader():
        yield from reader.unfolded(sources, given, choice, report, check, strict, row)
    else:
        yield from (Unfolded((read(*each), each[1]), picture) for each, picture in zip(sources, given, strict=True))


def all_shown(
    pictures: Sequence[OpenedImage], parts: Sequence[Unfolded], protocol: Protocol, grid: Grid
) -> list[Shown]:
    """The opened pictures of `parts` as a model sees them. Raises DataError: one cannot be shown."""
    try:
        shown = [as_shown(each, protocol, grid) for each in pictures]
    except ValueError as error:
        raise DataError(str(error)) from error
    for image, part in zip(shown, parts, strict=True):
        image.place, image.medium = part.place, part.medium
    return shown


def standard_input() -> IO[bytes]:
    """Standard input; an empty one if it was closed at the start."""
    return sys.stdin.buffer if sys.stdin else io.BytesIO()


def data_url_bytes(url: str) -> bytes:
    head, comma, body = url.partition(",")
    kind, *parameters = (part.strip().lower() for part in head[len("data:") :].split(";"))
    if not comma or ("base64" not in parameters and not kind.startswith("image/")):
        raise DataError("a data URL must begin like data:image/png;base64,")
    if body.count("%") > _MAX_ESCAPES:
        raise DataError(f"the data URL has over {_MAX_ESCAPES:,} percent signs: write the image as base64")
    if "base64" in parameters:
        with suppress(ValueError):  # most need no other step, each of which takes as long
            return base64.b64decode(body, validate=True)
    content = unquote_to_bytes(body) if "%" in body else body.encode("utf-8", "replace")
    if "base64" not in parameters:
        return content
    content = content.translate(_TO_BASE64, b" \t\r\n\f\v").rstrip(b"=")
    with errors_as(DataError, "the data URL is no base64", caught=(binascii.Error, ValueError)):
        return base64.b64decode(content + b"=" * (-len(content) % 4), validate=True)


def _fetch(url: str, seconds: float, trusted: bool) -> bytes:
    """The content of a URL; a connection that fails or ends early is tried again.

    The time is limited from outside, since no time-out of a socket ends a server that drips.
    """
    end = time.monotonic() + seconds
    rules = Rules(trusts_first=trusted, proxies=True, seconds=SECONDS, max_bytes=_MAX_FETCHED)

    def fetched() -> bytes:
        download = Fetch(url, rules)
        try:
            return within(end, lambda _: download.run())
        finally:
            download.abort()

    def passing(error: Exception, pause: float) -> float | None:
        return max(pause, error.wait) if isinstance(error, FetchError) and _is_passing(error) else None

    try:
        return retried(fetched, passing, tries=_TRIES, first=_FIRST_PAUSE, until=end)
    except LateError:
        raise NetworkError(f"{url} did not arrive within {round(seconds, 2):g} s") from None
    except FetchError as error:
        kind = NetworkError if _is_passing(error) or error.kind == "url" else DataError
        hint = TRUST if error.kind == "address" and not trusted else _HINTS.get(error.kind)
        raise kind(error.message, hint) from None


def _is_passing(error: FetchError) -> bool:
    return error.kind == "broken" or error.status == 429 or error.status >= 500
