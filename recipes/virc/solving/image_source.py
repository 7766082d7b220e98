"""Where a picture comes from: a path, an http(s) URL, a data URL or standard input."""

import base64
import binascii
import http.client
import io
import re
import string
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import IO, Protocol
from urllib.parse import quote, urlsplit, urlunsplit

from PIL import Image

from virc.core.errors import DataError, NetworkError
from virc.core.files import expanded
from virc.core.text import clause, plain
from virc.core.timeouts import LateError, within
from virc.reasoning.images import MOST_BYTES, open_image

SECONDS = 60.0
_USER = re.compile(r"//[^/?#]*@")
_MOST_FETCHED = 64 * 2**20
_HANDLERS = (
    urllib.request.ProxyHandler,
    urllib.request.HTTPHandler,
    urllib.request.HTTPSHandler,
    urllib.request.HTTPDefaultErrorHandler,
    urllib.request.HTTPRedirectHandler,
    urllib.request.HTTPErrorProcessor,
    urllib.request.UnknownHandler,
)


def open_source(
    source: str, base: Path = Path(), offline: bool = False, seconds: float | None = None
) -> Image.Image:
    """Open a picture named by a user, as upright RGB.

    Args:
        source: path, `http://`, `https://` or `data:` URL, or `-` for standard input.
        base: folder that relative paths start from.
        offline: refuse to fetch URLs.
        seconds: longest time for a fetch, where it is shorter than `SECONDS`.

    Raises:
        DataError: there is no such picture, or it cannot be shown.
        NetworkError: the URL cannot be fetched.
    """
    if source == "-":
        return open_image(_standard_input(), "standard input")
    if source[:5].lower() == "data:":
        return open_image(data_url_bytes(source), "the data URL")
    if not re.match(r"https?://", source, re.IGNORECASE):
        return open_image(base / expanded(source), source)
    if _USER.search(source):
        place = _USER.sub("//", source)
        raise DataError(
            f"{place} holds a user and password, which are not sent", "download the picture first"
        )
    if offline:
        raise NetworkError(f"{source} is on the network, and --offline forbids it")
    return open_image(_fetch(source, SECONDS if seconds is None else min(SECONDS, seconds)), source)


def standard_input() -> IO[bytes]:
    """Standard input; an empty one where it was closed at the start."""
    return sys.stdin.buffer if sys.stdin else io.BytesIO()


def _standard_input() -> bytes:
    content = standard_input().read(MOST_BYTES + 1)
    if not content:
        raise DataError("standard input is empty", "virc solve - 'question' < picture.png")
    return content


def data_url_bytes(url: str) -> bytes:
    """What a `data:` URL holds.

    Raises:
        DataError: it is not of base64.
    """
    head, comma, body = url.partition(",")
    if not comma or not head.lower().endswith(";base64"):
        raise DataError("a data URL must begin like data:image/png;base64,")
    try:
        return base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError) as error:
        raise DataError(f"the data URL is no base64: {clause(error)}") from error


def _fetch(url: str, seconds: float) -> bytes:
    """The body behind a URL; left from outside, since no socket time-out ends a server that drips."""
    end = time.monotonic() + seconds
    try:
        address = _ascii(url)
        return within(end, lambda _: _download(address, end))
    except LateError:
        raise NetworkError(f"{url} did not arrive within {round(seconds, 2):g} s") from None
    except urllib.error.HTTPError as error:
        kind = DataError if 400 <= error.code < 500 else NetworkError
        raise kind(f"{url} answers {error.code} {plain(error.reason)}".rstrip()) from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        inner = getattr(error, "reason", None)  # urllib wraps the reason, mostly an OSError
        reason = clause(inner if isinstance(inner, Exception) else error)
        raise NetworkError(f"cannot fetch {url}: {reason}") from None


def _ascii(url: str) -> str:
    """A URL as it is sent: names by IDNA, other letters and spaces in percent."""
    parts = urlsplit(url)
    path, query = (quote(part, safe=string.punctuation) for part in (parts.path, parts.query))
    return urlunsplit((parts.scheme, parts.netloc.encode("idna").decode(), path, query, ""))


def _download(url: str, end: float) -> bytes:
    opener = urllib.request.OpenerDirector()  # http and https alone, also after a redirect
    for handler in _HANDLERS:
        opener.add_handler(handler())
    request = urllib.request.Request(url, headers={"User-Agent": "virc"})
    content = bytearray()
    with opener.open(request, timeout=SECONDS) as response:
        body: _Body = response
        while chunk := body.read1(2**16):
            content += chunk
            if len(content) > _MOST_FETCHED:
                raise DataError(f"{url} is over {_MOST_FETCHED >> 20} MiB")
            if time.monotonic() > end:  # nobody waits for it any more
                break
    return bytes(content)


class _Body(Protocol):
    def read1(self, size: int) -> bytes: ...
