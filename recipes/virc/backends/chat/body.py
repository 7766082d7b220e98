"""Bodies of a server's answers.

A body goes through `bounded` (bytes, time) and `unpacked` (compression), and is parsed by `decoded` or `read_models`.
"""

import ssl
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from virc.backends.chat.errors import WireError, unreadable
from virc.core.text import plain
from virc.core.timeouts import LateError
from virc.core.web.client import http_library

_T = TypeVar("_T")
_MAX_NAME = 1000
_AT_ONCE = 2**14  # bytes: the older library unpacks a piece as a whole, to a thousand times as much by gzip
_MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
_OLD = frozenset({"gzip", "deflate"})  # what the older library unpacks within bounds
_TEXT = b"{[<dei:r \t\r\n\xef"
"""What JSON, a web page, an event or a byte order mark begin with."""


class ListedModel(msgspec.Struct, frozen=True):
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
    def kind(self) -> str:
        """Who it says owns the model, in lower case: most servers name themselves there."""
        return str(self.owned_by or "").lower()

    @property
    def weights_name(self) -> str | None:
        """What the server calls the weights, where that is another name: vLLM names their folder or hub id."""
        return self.root if isinstance(self.root, str) and self.root != self.id else None

    @property
    def context(self) -> int | None:
        """Longest conversation in tokens, if the server tells it: vLLM, SGLang and llama.cpp do."""
        of_llama_cpp = self.meta.get("n_ctx") if isinstance(self.meta, dict) else None
        tokens = self.max_model_len if type(self.max_model_len) is int else of_llama_cpp
        return tokens if type(tokens) is int and tokens > 0 else None

    @property
    def weights(self) -> tuple[str, ...]:
        meta = self.meta if isinstance(self.meta, dict) else {}  # llama.cpp sends one
        marks = (self.root, self.virc_weights, meta.get("n_params"), meta.get("size"))
        return tuple(str(mark)[:_MAX_NAME] for mark in marks if type(mark) in (str, int))


class _Embedding(msgspec.Struct):
    embedding: Annotated[list[float], Meta(min_length=1, max_length=2**16)]


class _Embeddings(msgspec.Struct):
    data: Annotated[list[_Embedding], Meta(min_length=1, max_length=1)]


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
        except (WireError, LateError):
            raise
        except Exception:  # its class depends on the HTTP library under the client; all mean the connection
            if time.monotonic() > until:  # it was closed here
                raise LateError from None
            raise WireError("cut the connection before its answer was whole", broken=True) from None
        size += len(piece)
        if size > most:
            raise WireError(f"sent over {most:,} bytes for one answer")
        if time.monotonic() > until:  # nobody waits for it any more
            raise LateError
        yield piece


def read_models(pieces: Iterable[bytes]) -> list[ListedModel]:
    """The body of /v1/models: a list, or an object that holds one or, if there is no model, null.

    Entries whose name cannot be printed and typed are left out.
    """
    data = b"".join(pieces)
    body: Any = decoded(data, Any)
    listed = body
    if isinstance(body, dict):
        otherwise = None if body.get("object") == "list" else body  # the body itself is refused below
        listed = next((body[key] for key in ("data", "models") if key in body), otherwise)
    if not isinstance(listed, list | None):
        raise unreadable(data)
    models = [{**each, "id": each.get("id") or each.get("name")} for each in listed or () if isinstance(each, dict)]
    models += [{"id": each} for each in listed or () if isinstance(each, str)]
    if listed and not models:
        raise unreadable(data)
    entries = [msgspec.convert(each, ListedModel) for each in models if isinstance(each["id"], str)]
    return [served for served in entries if served.id.isprintable() and 0 < len(served.id) <= 256]


def read_embedding(pieces: Iterable[bytes]) -> list[float]:
    return decoded(b"".join(pieces), _Embeddings).data[0].embedding


def decoded(data: bytes, kind: type[_T]) -> _T:
    try:
        return msgspec.json.decode(data.removeprefix(b"\xef\xbb\xbf"), type=kind)
    except (ValueError, RecursionError):  # nesting deeper than the interpreter's limit raises the latter
        raise unreadable(data) from None


def unpacked(pieces: Iterator[bytes], headers: Mapping[str, str], is_whole: bool = False) -> Iterator[bytes]:
    """Yield the pieces of a body as they were before it was compressed; its first bytes count, then its header.

    Args:
        is_whole: the pieces are a whole body: gzip is read to its end, in all its members (RFC 1952, section 2.2).

    Raises:
        WireError: it is compressed in a way that this installation does not unpack, or damaged, or cut short.
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
    yield from _decompressed(whole, encodings, is_whole) if encodings and is_packed else whole


def _decompressed(pieces: Iterator[bytes], encodings: list[str], is_whole: bool) -> Iterator[bytes]:
    http = http_library()
    with http.Client(verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), trust_env=False) as client:
        supported = {each.strip() for each in client.headers["accept-encoding"].split(",")}
    supported = supported if http.__name__ == "httpx2" else supported & _OLD
    if not supported.issuperset(encodings):
        name = plain(", ".join(encodings), 60)
        raise WireError(f"sent a body compressed as {name}, which was not asked for and cannot be read here")
    for encoding in reversed(encodings):  # each in small pieces, as a piece may become a thousand times as large
        small = (piece[at : at + _AT_ONCE] for piece in pieces for at in range(0, len(piece), _AT_ONCE))
        if is_whole and encoding == "gzip":
            pieces = _gzip_members(small)
        else:
            pieces = http.Response(200, headers={"content-encoding": encoding}, content=small).iter_bytes()
    try:
        yield from pieces
    except (WireError, LateError):
        raise
    except Exception as error:  # one class in each version of the library
        raise WireError(f"sent a compressed body that is damaged: {plain(error, 100)}") from None


def _gzip_members(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the content of all gzip members; the HTTP libraries read the first only, and accept one that is cut."""
    decoder = zlib.decompressobj(wbits=31)
    for piece in pieces:
        rest = piece
        while rest:
            if decoder.eof:
                decoder = zlib.decompressobj(wbits=31)
            yield decoder.decompress(rest)
            rest = decoder.unused_data
    if not decoder.eof:
        raise WireError("sent a compressed body that is cut short", broken=True)
