"""Bodies that are compressed though that was not asked for, unpacked by the HTTP library."""

import ssl
from collections.abc import Iterator, Mapping
from itertools import chain

from virc.backends.openai.body import WireError
from virc.core.text import plain
from virc.core.timeouts import LateError
from virc.core.web.client import http_library

_AT_ONCE = 2**14  # bytes: the older library unpacks a piece as a whole, to a thousand times as much by gzip
_MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
_OLD = frozenset({"gzip", "deflate"})  # what the older library unpacks within bounds
_TEXT = b"{[<dei:r \t\r\n\xef"
"""What JSON, a web page, an event or a byte order mark begin with."""


def unpacked(pieces: Iterator[bytes], headers: Mapping[str, str]) -> Iterator[bytes]:
    """Yield the pieces of a body as they were before it was compressed; its first bytes count, then its header.

    Raises:
        WireError: it is compressed in a way that this installation does not unpack, or damaged.
    """
    first = b""
    for piece in pieces:
        first += piece
        if len(first) >= 4:
            break
    named = [each.strip().lower().removeprefix("x-") for each in headers.get("content-encoding", "").split(",")]
    found = next((each for magic, each in _MAGIC.items() if first.startswith(magic)), None)
    ways = [each for each in named if each not in ("", "identity")]
    ways = [found] if found and found not in ways else ways
    whole = chain([first], pieces)
    is_packed = bool(first) and (found is not None or first[:1] not in _TEXT)
    yield from _decoded(whole, ways) if ways and is_packed else whole


def _decoded(pieces: Iterator[bytes], ways: list[str]) -> Iterator[bytes]:
    http = http_library()
    with http.Client(verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), trust_env=False) as client:
        can = {each.strip() for each in client.headers["accept-encoding"].split(",")}
    can = can if http.__name__ == "httpx2" else can & _OLD
    if not can.issuperset(ways):
        name = plain(", ".join(ways), 60)
        raise WireError(f"sent a body compressed as {name}, which was not asked for and cannot be read here")
    for way in reversed(ways):  # one at a time: what one makes of a small piece would be a large one for the next
        small = (piece[at : at + _AT_ONCE] for piece in pieces for at in range(0, len(piece), _AT_ONCE))
        pieces = http.Response(200, headers={"content-encoding": way}, content=small).iter_bytes()
    try:
        yield from pieces
    except (WireError, LateError):
        raise
    except Exception as error:  # one class in each version of the library
        raise WireError(f"sent a compressed body that is damaged: {plain(error, 100)}") from None
