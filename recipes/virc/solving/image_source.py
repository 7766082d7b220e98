"""Where a picture comes from: a path, an http(s) URL, a data URL or standard input."""

import base64
import binascii
import io
import re
import sys
import time
from functools import partial
from pathlib import Path
from typing import IO

from PIL import Image

from virc.core.errors import DataError, NetworkError
from virc.core.files import expanded
from virc.core.text import clause
from virc.core.timeouts import LateError, within
from virc.core.web.fetch import Fetch, FetchError, Rules
from virc.reasoning.images import MOST_BYTES, OpenedImage, open_file

Picture = str | Path | Image.Image
"""A path, URL or `-` for standard input; or an image."""
STREAM = "-"
SECONDS = 60.0
_USER = re.compile(r"//[^/?#]*@")
_MOST_FETCHED = 64 * 2**20
_PAUSES = (0.3, 1.0)  # seconds before the second and the third try
_HINTS = {"address": "download the picture first", "redirect": "download the picture first"}


def open_source(source: str, base: Path = Path(), offline: bool = False, seconds: float | None = None) -> OpenedImage:
    """Open a picture named by a user, as upright RGB; a DataError or NetworkError where that fails.

    Args:
        source: path, `http://`, `https://` or `data:` URL, or `-` for standard input.
        base: folder that relative paths start from.
        offline: refuse to fetch URLs.
        seconds: longest time for a fetch, where it is shorter than `SECONDS`.
    """
    if source == "-":
        content = standard_input().read(MOST_BYTES + 1)
        if not content:
            raise DataError("standard input is empty", "virc solve - 'question' < picture.png")
        return open_file(content, "standard input")
    if source[:5].lower() == "data:":
        return open_file(data_url_bytes(source), "the data URL")
    if not re.match(r"https?://", source, re.IGNORECASE):
        return open_file(base / expanded(source), source)
    if _USER.search(source):
        place = _USER.sub("//", source)
        raise DataError(f"{place} holds a user and password, which are not sent", "download the picture first")
    if offline:
        raise NetworkError(f"{source} is on the network, and --offline forbids it")
    return open_file(_fetch(source, SECONDS if seconds is None else min(SECONDS, seconds)), source)


def opened_picture(picture: Picture, offline: bool, seconds: float | None) -> Image.Image | OpenedImage:
    """A picture of a caller: an image as it is, others as `open_source` opens them."""
    return picture if isinstance(picture, Image.Image) else open_source(str(picture), Path(), offline, seconds)


def standard_input() -> IO[bytes]:
    """Standard input; an empty one where it was closed at the start."""
    return sys.stdin.buffer if sys.stdin else io.BytesIO()


def data_url_bytes(url: str) -> bytes:
    """The content of a base64 `data:` URL."""
    head, comma, body = url.partition(",")
    if not comma or not head.lower().endswith(";base64"):
        raise DataError("a data URL must begin like data:image/png;base64,")
    try:
        return base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError) as error:
        raise DataError(f"the data URL is no base64: {clause(error)}") from error


def _fetch(url: str, seconds: float) -> bytes:
    """The content of a URL; a connection that fails or ends early is tried again.

    The time is limited from outside, since no time-out of a socket ends a server that drips.
    """
    end = time.monotonic() + seconds
    rules = Rules(trusts_first=True, proxies=True, seconds=SECONDS, most_bytes=_MOST_FETCHED)
    for pause in (*_PAUSES, None):
        download = Fetch(url, rules)
        try:
            return within(end, partial(_run, download))
        except LateError:
            raise NetworkError(f"{url} did not arrive within {round(seconds, 2):g} s") from None
        except FetchError as error:
            failing = error.kind == "broken" or error.status == 429 or error.status >= 500
            if pause is None or not failing or time.monotonic() + pause > end:
                kind = NetworkError if failing or error.kind == "url" else DataError
                raise kind(error.message, _HINTS.get(error.kind)) from None
        finally:
            download.abort()
        time.sleep(pause)
    raise AssertionError


def _run(download: Fetch, _say: object) -> bytes:
    return download.run()
