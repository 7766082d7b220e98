"""Bodies of a server's answers, and the errors in them.

A body goes through `bounded` (bytes, time) and `unpacked` (compression), and is parsed by `decoded` or `read_models`.
`failed` and `unreadable` make the error of a body that is none; `error_fields` and `error_text` find what it says.
"""

import json
import re
import ssl
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import chain
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from virc.core.text import plain
from virc.core.timeouts import LateError
from virc.core.web.client import http_library

_T = TypeVar("_T")
_MAX_WRAPS = 6
_SUCCESS = re.compile(r"(?:success(?:ful(?:ly)?)?|succeeded|ok|done)?\W*", re.IGNORECASE)
_CODES = ("code", "status", "status_code", "statusCode", "error_code", "errorCode", "errcode", "err_code")
_FAILURE = re.compile(r"error|fail|abort|cancel|reject|denied|time.?out|exceed|unavailable|overload", re.IGNORECASE)
_MAX_NAME = 1000
_WRAPS = ("errors", "detail", "base_resp", "Response", "Error")
"""Keys that hold another error body, in addition to `error`."""
_SENTENCES = (
    "error", "message", "detail", "msg", "error_msg", "error_message", "status_msg", "Message", "reason",
)  # fmt: skip
_STATUSES = (
    ("authentication", 401), ("unauthenticated", 401), ("invalid_api_key", 401), ("unauthorized", 401),
    ("permission", 403), ("not_found", 404), ("insufficient_quota", 402), ("billing", 402), ("too_large", 413),
    ("rate_limit", 429), ("resource_exhausted", 429), ("overloaded", 529), ("server_error", 500),
    ("invalid_request", 400), ("invalid_argument", 400), ("badrequest", 400), ("content_filter", 400),
)  # fmt: skip
"""HTTP statuses of errors, by a part of their type or code in lower case."""
_PAGE = re.compile(r"\s*(?:<!--.{0,400}?-->\s*)?<(?:!doctype|html|head|body|\?xml)", re.IGNORECASE | re.DOTALL)
_TITLE = re.compile(r"<title[^>]{0,200}>([^<]{1,300})", re.IGNORECASE)
_TAGS = re.compile(r"<[^<>]{0,300}>")
_MAX_PAGE = 8192  # characters that are looked at

_AT_ONCE = 2**14  # bytes: the older library unpacks a piece as a whole, to a thousand times as much by gzip
_MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
_OLD = frozenset({"gzip", "deflate"})  # what the older library unpacks within bounds
_TEXT = b"{[<dei:r \t\r\n\xef"
"""What JSON, a web page, an event or a byte order mark begin with."""


class WireError(Exception):
    """The server's part of the exchange went wrong.

    Args:
        message: the sentence after the endpoint's name.
        quoted: what the server sent, unchanged: it may contain the key, or control characters of a terminal.
        broken: its answer ended before it was whole, as if the server was ended.
        status: the HTTP status, 400 to 499 or 529, that the error in an answer stands for which came with another one;
            0: none.
        body: that error.
    """

    def __init__(
        self, message: str, quoted: str = "", broken: bool = False, status: int = 0, body: object = None
    ) -> None:
        super().__init__(message)
        self.quoted, self.broken, self.status, self.body = quoted, broken, status, body
        self.is_page = False


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


def error_fields(body: object) -> dict[str, Any]:
    """The innermost object of an error body: servers nest errors in objects, in lists, and in JSON that is a text."""
    for _ in range(_MAX_WRAPS):
        if isinstance(body, list) and len(body) == 1:
            body = body[0]
        if not isinstance(body, dict):
            break
        metadata = body.get("metadata")
        raw = metadata.get("raw") if isinstance(metadata, dict) else None
        inner = None
        with suppress(ValueError, RecursionError):
            inner = msgspec.json.decode(raw) if isinstance(raw, str) else None
        inner = inner or body.get("error") or next((body[key] for key in _WRAPS if body.get(key)), None)
        is_list_of_details = isinstance(inner, list) and inner is body.get("detail")
        if not isinstance(inner, dict | list) or is_list_of_details:
            return body
        body = inner
    return {}


def error_text(body: object) -> str:
    """The sentence inside an error body of any of the usual shapes, as it came; a page for browsers has none."""
    sentence: object = error_fields(body) or body
    for key in _SENTENCES:
        if isinstance(sentence, dict) and sentence.get(key):
            sentence = sentence[key]
    text = str(sentence or "")
    return "" if _PAGE.match(text) else text


def reported(body: object) -> bool:
    """Whether what came in place of a part of a reply reports an error; `{"code": 0, "message": "OK"}` does not."""
    fields = error_fields(body)
    sentence = next((fields[key] for key in _SENTENCES if fields.get(key)), "")
    codes = {name: str(fields[name]) for name in _CODES if fields.get(name) is not None}
    is_called_error = "error" in (fields.get("object"), fields.get("type")) or fields.get("success") is False
    reports_success = not {"0", "200"}.isdisjoint(codes.values()) or _SUCCESS.fullmatch(str(sentence))
    return is_called_error or not reports_success or any(_is_of_error(name, code) for name, code in codes.items())


def _is_of_error(name: str, code: str) -> bool:
    """Whether a code, in a field of that name, is that of an error. A status in words is mostly one of work that is not
    finished, such as `running`.
    """
    if code.removeprefix("-").isdecimal():
        number = int(code[:9])
        is_success = number == 0 or 200 <= number < 300
        return number >= 400 or number < 0 or not (is_success or "status" in name)
    return bool(_FAILURE.search(code)) or ("status" not in name and not _SUCCESS.fullmatch(code))


def failed(body: object) -> WireError:
    """The error that a server reports in the body of an answer with a status of success."""
    status = _status(body)
    text = error_text(body)
    if isinstance(body, dict) and text == str(body):
        text = msgspec.json.encode(body).decode()
    return WireError("failed", text, True, status if 400 <= status < 500 or status == 529 else 0, body)


def unreadable(data: bytes) -> WireError:
    """The error of a body that is not what was requested; it says what the body is instead."""
    body = parsed(data)
    if isinstance(body, str):
        if not body.strip():
            return WireError("sent an empty body", broken=True)
        if _PAGE.match(body):
            error = WireError("sent a web page in place of JSON", title(body))
            error.is_page = True
            return error
    elif reported(body):
        return failed(body)
    return WireError("sent something that cannot be read", data[:2048].decode(errors="replace"))


def title(page: str) -> str:
    found = _TITLE.search(page[:_MAX_PAGE])
    return found[1] if found else _TAGS.sub(" ", page[:_MAX_PAGE])


def is_page(body: object) -> bool:
    return isinstance(body, str) and bool(_PAGE.match(body))


def parsed(data: bytes) -> Any:
    """The JSON value of a body, also with NaN and halves of characters; its text if it is none."""
    data = data.removeprefix(b"\xef\xbb\xbf")
    with suppress(ValueError, RecursionError):  # nesting deeper than the interpreter's limit raises the latter
        return msgspec.json.decode(data)
    with suppress(ValueError, RecursionError):
        return json.loads(data.decode(errors="surrogateescape"))
    return data.decode(errors="replace")


def _status(body: object) -> int:
    """The HTTP status that an error's code or type stands for; 0 if it names none."""
    fields = error_fields(body) or (body if isinstance(body, dict) else {})
    codes = [fields.get(key) for key in ("code", "status", "status_code", "statusCode", "type")]
    for code in codes:
        if str(code).isdecimal() and 400 <= int(str(code)[:9]) < 600:
            return int(str(code))
    words = " ".join(code for code in codes if isinstance(code, str)).lower()
    return next((code for word, code in _STATUSES if word in words), 0)


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
    supported = supported if http.__name__ == "httpx2" else supported & _OLD
    if not supported.issuperset(encodings):
        name = plain(", ".join(encodings), 60)
        raise WireError(f"sent a body compressed as {name}, which was not asked for and cannot be read here")
    for encoding in reversed(encodings):  # each in small pieces, as a piece may become a thousand times as large
        small = (piece[at : at + _AT_ONCE] for piece in pieces for at in range(0, len(piece), _AT_ONCE))
        pieces = http.Response(200, headers={"content-encoding": encoding}, content=small).iter_bytes()
    try:
        yield from pieces
    except (WireError, LateError):
        raise
    except Exception as error:  # one class in each version of the library
        raise WireError(f"sent a compressed body that is damaged: {plain(error, 100)}") from None
