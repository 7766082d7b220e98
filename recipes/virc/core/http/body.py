"""The body of an answer: bounded in bytes and time, unpacked where it is compressed, and ended from another thread."""

import math
import socket
import ssl
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, suppress
from itertools import chain
from typing import TYPE_CHECKING, Any

from virc.core.http.library import http_library
from virc.core.text import plain
from virc.core.timeouts import LateError

if TYPE_CHECKING:
    import httpx2 as httpx

_AT_ONCE = 2**14  # bytes of a piece that is unpacked, to a thousand times as much by gzip
_MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
_TEXT = b"{[<dei:r \t\r\n\xef"
"""What JSON, a web page, an event or a byte order mark begin with."""


class TooLargeError(ValueError):
    """An answer has more bytes than were to be read."""


class DamagedError(ValueError):
    """A compressed body cannot be unpacked; `is_cut`: as it ends before its end."""

    def __init__(self, message: str, is_cut: bool = False) -> None:
        super().__init__(message)
        self.is_cut = is_cut


def bounded(pieces: Iterable[bytes], max_bytes: int, until: float = math.inf) -> Iterator[bytes]:
    """Yield the pieces of a body.

    Args:
        until: monotonic time in seconds after which nobody waits for it any more.

    Raises:
        TooLargeError: it has more than `max_bytes`.
        LateError: it takes longer.
    """
    size = 0
    for piece in pieces:
        size += len(piece)
        if size > max_bytes:
            raise TooLargeError(f"its answer is over {max_bytes >> 20} MiB")
        if time.monotonic() > until:
            raise LateError
        yield piece


def within_bytes(
    pieces: Iterable[bytes], max_bytes: int, on_bytes: Callable[[int], object] = lambda _: None, until: float = math.inf
) -> bytes:
    """Join the pieces of a body, bounded as by `bounded`; `on_bytes` gets the size of each."""
    content = bytearray()
    for piece in bounded(pieces, max_bytes, until):
        on_bytes(len(piece))
        content += piece
    return bytes(content)


def unpacked(pieces: Iterator[bytes], headers: Mapping[str, str]) -> Iterator[bytes]:
    """Yield the pieces of a body as they were before it was compressed; its first bytes count, then its header.

    Raises:
        DamagedError: it is compressed in a way that this installation does not unpack, or damaged, or cut short.
    """
    first = b""
    for piece in pieces:
        first += piece
        if len(first) >= 4:
            break
    in_header = [each.strip().lower().removeprefix("x-") for each in headers.get("content-encoding", "").split(",")]
    encodings = [each for each in in_header if each not in ("", "identity")]
    by_magic = next((each for magic, each in _MAGIC.items() if first.startswith(magic)), None)
    if by_magic and by_magic not in encodings:
        encodings = [by_magic]
    whole = chain([first], pieces)
    is_packed = bool(first) and (by_magic is not None or first[:1] not in _TEXT)
    yield from _decompressed(whole, encodings) if encodings and is_packed else whole


def _decompressed(pieces: Iterator[bytes], encodings: list[str]) -> Iterator[bytes]:
    http = http_library()
    with http.Client(verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), trust_env=False) as client:
        supported = {each.strip() for each in client.headers["accept-encoding"].split(",")}
    if http.__name__ != "httpx2":
        supported &= {"gzip", "deflate"}  # what the older library unpacks within bounds
    if not supported.issuperset(encodings):
        name = plain(", ".join(encodings), 60)
        raise DamagedError(f"sent a body compressed as {name}, which was not asked for and cannot be read here")
    for encoding in reversed(encodings):
        small = (piece[at : at + _AT_ONCE] for piece in pieces for at in range(0, len(piece), _AT_ONCE))
        packed = http.Response(200, headers={"content-encoding": encoding}, content=small)
        pieces = _gzip_members(small) if encoding == "gzip" else packed.iter_bytes()
    try:
        yield from pieces
    except (DamagedError, TooLargeError, LateError):
        raise
    except (zlib.error, http.DecodingError) as error:
        raise DamagedError(f"sent a compressed body that is damaged: {plain(error, 100)}") from None


def _gzip_members(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the content of all gzip members (RFC 1952, section 2.2); the HTTP libraries read the first only, and accept
    one that is cut.
    """
    decoder = zlib.decompressobj(wbits=31)
    for piece in pieces:
        rest = piece
        while rest:
            if decoder.eof:
                decoder = zlib.decompressobj(wbits=31)
            yield decoder.decompress(rest)
            rest = decoder.unused_data
    if not decoder.eof:
        raise DamagedError("sent a compressed body that is cut short", is_cut=True)


class Ending:
    """Requests of one caller, one at a time, that another thread can end."""

    def __init__(self) -> None:
        self.has_ended = False
        # Without the request and its body, which a cycle through `check` would keep until a collection.
        self._under_way: tuple[httpx.Client, httpx.URL, dict[str, Any]] | None = None

    def send(self, client: "httpx.Client", request: "httpx.Request") -> "httpx.Response":
        """The response to a request, its body still to be read. Raises OSError: all was ended before it was sent."""

        def check(step: str, _info: object) -> None:
            # The library calls it at each step of a request, and connects first: the caller may have left by then.
            if step.endswith("send_request_headers.started") and self.has_ended:
                raise OSError("given up")

        request.extensions = {**request.extensions, "trace": check}
        self._under_way = client, request.url, request.extensions
        return client.send(request, stream=True)

    def end(self) -> None:
        """Send nothing more, and shut down the connection of the request that is under way."""
        self.has_ended = True
        self.hang_up()

    def hang_up(self) -> None:
        """Shut down the connection of the request that is under way.

        Until the headers are there, the library tells it to nobody: its own attributes are read.
        """
        if self._under_way is None:
            return
        library: Any
        library, url, extensions = self._under_way
        connection: Any = None
        with suppress(AttributeError, OSError):  # no connection yet, or no more, or a library of another build
            waiting = [*library._transport_for_url(url)._pool._requests]
            for each in waiting:
                if each.request.extensions is extensions:
                    connection = each.connection
            while hasattr(connection, "_connection"):  # that of a proxy, and that of its origin
                connection = connection._connection
            if connection:
                shared = connection._network_stream.get_extra_info("socket")  # that of TLS would forget its state
                with closing(socket.fromfd(shared.fileno(), shared.family, shared.type)) as own:
                    own.shutdown(socket.SHUT_RDWR)
