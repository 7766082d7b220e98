"""Pictures that a client names: given as bytes, kept from an earlier result, inside a readable folder, or fetched."""

import base64
import binascii
import io
import math
import os
import re
import stat
from collections.abc import Sequence
from pathlib import Path

import msgspec
from PIL import Image

from virc.core.errors import DataError, errors_as
from virc.core.files import as_stored
from virc.core.http.fetch import Rules
from virc.core.text import plain
from virc.reasoning.encoded import Encoded, as_jpeg, as_png
from virc.reasoning.images import MAX_BYTES
from virc.reasoning.resample import resampled
from virc.serving.agent import fetch
from virc.serving.chat_request import RefusedError
from virc.solving.image_source import data_url_bytes, path_of
from virc_extras.mcp.result_store import ResultStore

IMAGE = "image"
"""The beginning of the names of kept pictures."""
_KEPT = re.compile(rf"{IMAGE}-[0-9a-f]{{32}}")
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]{1,30}):", re.IGNORECASE)
_LONGEST_PATH = 4096
_STARTS = (
    b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF8", b"RIFF", b"BM", b"II*\x00", b"MM\x00*", b"<svg", b"<?xml", b"%PDF",
    b"\x1aE\xdf\xa3",
)  # fmt: skip
"""First bytes of files that are pictures, or that people take for pictures (SVG), clips and PDFs."""
_AIM, _ENOUGH = (
    0.95,
    0.9,
)  # shares of the allowed bytes: what a try to shrink a picture aims at, and what ends the tries
_MAX_TRIES = 12
_MAX_IN_REPLY = 2**20
"""Bytes of a PNG in a reply; what would be larger is sent as JPEG, since some clients refuse long results."""


class Readable(msgspec.Struct, frozen=True):
    """What may be read for a client; `folders` are absolute, without links."""

    folders: Sequence[Path] = ()
    offline: bool = False
    rules: Rules = fetch.RULES


async def given(source: str, store: ResultStore, session: str, readable: Readable) -> bytes | Path:
    """The bytes of a picture, or the path inside a readable folder that was named; the path is not opened yet."""
    if source[:5].lower() == "data:":
        return data_url_bytes(source)
    if _KEPT.fullmatch(source):
        kept = store.find(session, source)
        if not isinstance(kept, bytes):
            raise DataError(f"this session has no {source}: it is of another session, or was dropped for newer ones")
        return kept
    scheme = _SCHEME.match(source)
    if scheme and scheme[1].lower() in ("http", "https"):
        return await _fetched(source, readable)
    if scheme and scheme[1].lower() == "file":
        return path_of(source)
    if scheme and source[scheme.end() : scheme.end() + 2] == "//":
        raise DataError(f"{scheme[1][:20]} URLs are not read: give a path inside a readable folder, or https")
    content = _of_base64(source)
    return Path(source) if content is None else content


async def _fetched(url: str, readable: Readable) -> bytes:
    if readable.offline:
        raise DataError("this server fetches nothing from the network («--offline»)")
    if url[:8].lower() != "https://":
        raise DataError("only https URLs are fetched")
    if not re.fullmatch(r"[!-~]{1,8192}", url) or "@" in url.split("/")[2]:
        raise DataError("this is no https URL that can be fetched")
    try:
        return await fetch.fetch(url, "the picture", readable.rules)
    except RefusedError as error:
        raise DataError(error.message) from None


def _of_base64(source: str) -> bytes | None:
    """The bytes of a text that can only be base64: too long for a path, or one that decodes to a picture's start."""
    try:
        content = base64.b64decode("".join(source.split()) if len(source) > _LONGEST_PATH else source, validate=True)
    except (binascii.Error, ValueError):
        if len(source) > _LONGEST_PATH:
            raise DataError("the picture is no base64, and too long for a path") from None
        return None
    is_picture = content.startswith(_STARTS) or content[4:8] == b"ftyp"
    return content if is_picture or len(source) > _LONGEST_PATH else None


def file_of(source: bytes | Path, readable: Readable) -> tuple[bytes, str]:
    if isinstance(source, bytes):
        return source, "the picture"
    return _contents(source, readable.folders), plain(source, 120)


def _contents(path: Path, readable: Sequence[Path]) -> bytes:
    """The file at a path inside a readable folder; of all others nothing is told, not even whether they exist."""
    where = " or ".join(map(str, readable)) or "none: no folder was named when the server was started"
    outside = DataError(f"{plain(path, 120)} is not a picture inside a readable folder", f"readable: {where}")
    for folder in readable:
        try:
            inside = as_stored(folder / path).resolve(strict=True).relative_to(folder)
        except (OSError, RuntimeError, ValueError):
            continue
        with errors_as(DataError, f"{plain(path, 120)} cannot be read"):
            return _read(folder, inside)
    raise outside


def _read(folder: Path, inside: Path) -> bytes:
    """A file at a path without links: each part is opened in the one before, so that none can become a link."""
    link = getattr(os, "O_NOFOLLOW", 0)
    if os.open not in os.supports_dir_fd:
        descriptor = os.open(folder / inside, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    else:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        for part in inside.parts:
            try:
                below = os.open(part, os.O_RDONLY | link | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=descriptor)
            finally:
                os.close(descriptor)
            descriptor = below
    with open(descriptor, "rb") as file:  # noqa: PTH123 (a descriptor, not a path)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError("it is no file")
        return file.read(MAX_BYTES + 1)


def in_reply(pixels: Image.Image, side: int) -> tuple[Encoded, bool]:
    """A picture as it is sent, no side over `side` px, and whether it is exact: not shrunk, and without loss."""
    longest = max(pixels.size)
    fits = longest <= side
    if not fits:
        width, height = (max(1, round(length * side / longest)) for length in pixels.size)
        pixels = resampled(pixels, (width, height))
    file = as_png(pixels)
    if len(file.data) > _MAX_IN_REPLY:
        return as_jpeg(pixels), False
    return file, fits


def smaller(file: Encoded, max_bytes: int) -> Encoded:
    """A picture as a JPEG of at most `max_bytes`, at its own size or at the largest that a few tries find to fit."""
    pixels, best, scale = pixels_of(file), None, 1.0
    fits, exceeds = 0.0, 1.0  # the largest scale that was found to fit, and the smallest that was found not to
    for _ in range(_MAX_TRIES):
        width, height = (max(1, int(side * scale)) for side in pixels.size)
        jpeg = as_jpeg(resampled(pixels, (width, height)))
        filled = len(jpeg.data) / max_bytes
        if filled <= 1:
            best, fits = jpeg, scale
            if scale == 1 or filled >= _ENOUGH:
                break
        else:
            exceeds = scale
        guess = scale * math.sqrt(_AIM / filled)  # bytes grow about with the area
        scale = guess if fits < guess < exceeds else (fits + exceeds) / 2
    return best or jpeg


def pixels_of(file: Encoded) -> Image.Image:
    return Image.open(io.BytesIO(file.data)).convert("RGB")
