"""Bodies of a server's answers, bounded in bytes and time, typed; and its list of models."""

import re
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from virc.core.timeouts import LateError

_T = TypeVar("_T")
_MOST_WRAPS = 6
_PAGE = re.compile(r"\s*<(?:!doctype|html|head|body|\?xml)", re.IGNORECASE)


class WireError(Exception):
    """The server's part of the exchange went wrong.

    Args:
        message: goes on from the endpoint's name.
        quoted: what the server sent, as it came: it may hold the key, or drive the terminal.
        broken: its answer ended before it was whole, as that of a server that is ended does.
    """

    def __init__(self, message: str, quoted: str = "", broken: bool = False) -> None:
        super().__init__(message)
        self.quoted, self.broken = quoted, broken


class Served(msgspec.Struct, frozen=True):
    """One entry of /v1/models; `virc serve` publishes its chat protocol, its patch grid, that it keeps images by id,
    that it runs the loop itself, and a hash of its model's files.
    """

    id: str
    owned_by: Any = None
    virc_protocol: Any = None
    virc_grid: Any = None
    virc_image_ids: Any = None
    virc_agent: Any = None
    virc_weights: Any = None
    max_model_len: Any = None
    root: Any = None
    meta: Any = None

    @property
    def context(self) -> int | None:
        """Longest conversation in tokens, where the server tells it: vLLM, SGLang and llama.cpp do."""
        held = self.meta.get("n_ctx") if isinstance(self.meta, dict) else None  # llama.cpp
        known = self.max_model_len if type(self.max_model_len) is int else held
        return known if type(known) is int and known > 0 else None


class _Listing(msgspec.Struct):
    data: list[Served]


class _Embedding(msgspec.Struct):
    embedding: Annotated[list[float], Meta(min_length=1, max_length=2**16)]


class _Embeddings(msgspec.Struct):
    data: Annotated[list[_Embedding], Meta(min_length=1, max_length=1)]


def error_fields(body: object) -> dict[str, Any]:
    """The innermost object of an error body: servers wrap one in the other, as a list, or as JSON text of another."""
    for _ in range(_MOST_WRAPS):
        if isinstance(body, list) and len(body) == 1:
            body = body[0]
        if not isinstance(body, dict):
            break
        metadata = body.get("metadata")
        raw = metadata.get("raw") if isinstance(metadata, dict) else None
        inner = None
        with suppress(ValueError, RecursionError):
            inner = msgspec.json.decode(raw) if isinstance(raw, str) else None
        inner = inner or body.get("error")
        if not isinstance(inner, dict | list):
            return body
        body = inner
    return {}


def error_text(body: object) -> str:
    """The sentence inside an error body of any of the usual shapes, as it came; a page for browsers has none."""
    found: object = error_fields(body) or body
    for key in ("error", "message", "detail"):
        if isinstance(found, dict) and found.get(key):
            found = found[key]
    text = str(found or "")
    return "" if _PAGE.match(text) else text


def bounded(pieces: Iterator[bytes], most: int, until: float) -> Iterator[bytes]:
    """The pieces of a body, up to `most` bytes and the monotonic time `until` (seconds).

    Raises:
        WireError: there is more, or the connection fails.
        LateError: it takes longer.
    """
    size = 0
    while True:
        try:
            piece = next(pieces)
        except StopIteration:
            return
        except Exception:  # its class depends on the HTTP library under the client; all mean the connection
            raise WireError("cut the connection before its answer was whole", broken=True) from None
        size += len(piece)
        if size > most:
            raise WireError(f"sent over {most:,} bytes for one answer")
        if time.monotonic() > until:  # nobody waits for it any more
            raise LateError
        yield piece


def read_models(pieces: Iterable[bytes]) -> list[Served]:
    """The body of /v1/models; entries whose name cannot be printed and typed are left out."""
    listing = decoded(b"".join(pieces), _Listing)
    return [served for served in listing.data if served.id.isprintable() and 0 < len(served.id) <= 256]


def read_embedding(pieces: Iterable[bytes]) -> list[float]:
    """The body of /v1/embeddings for one text."""
    return decoded(b"".join(pieces), _Embeddings).data[0].embedding


def lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The lines of a body, however it comes in pieces; what follows the last line end is a line too."""
    rest: list[bytes] = []
    for piece in pieces:
        *ended, last = piece.split(b"\n")
        for line in ended:
            yield b"".join((*rest, line))
            rest.clear()
        rest.append(last)
    yield b"".join(rest)


def decoded(data: bytes, kind: type[_T]) -> _T:
    """JSON as a value of a type; anything else is a `WireError`."""
    try:
        return msgspec.json.decode(data, type=kind)
    except (ValueError, RecursionError):  # nesting deeper than the interpreter's limit raises the latter
        raise WireError("sent something that cannot be read", data[:2048].decode(errors="replace")) from None
