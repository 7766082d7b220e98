"""What an OpenAI-compatible server sends, read with nothing believed: typed, bounded in bytes and time."""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Annotated, Any, TypeVar

import msgspec

from virc_recipes.deadline import LateError
from virc_recipes.reasoning.session import Reply

_T = TypeVar("_T")
_BROKEN_OFF = frozenset({"abort", "error"})  # what vLLM says of a reply that it was ended in
_Count = Annotated[int, msgspec.Meta(ge=0, le=2**40)]


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
    """One entry of /v1/models; `virc serve` publishes its wording, its patch grid, that it keeps images by id, and
    that it runs the loop itself.
    """

    id: str
    owned_by: Any = None
    virc_protocol: Any = None
    virc_grid: Any = None
    virc_image_ids: Any = None
    virc_agent: Any = None
    max_model_len: Any = None


class _Listing(msgspec.Struct):
    data: list[Served]


class _Usage(msgspec.Struct):
    prompt_tokens: _Count | None = None
    completion_tokens: _Count | None = None


class _Part(msgspec.Struct):
    """A piece of a message; servers that part thoughts from content call them by either name."""

    content: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None


class _Choice(msgspec.Struct):
    delta: _Part | None = None
    message: _Part | None = None
    finish_reason: str | None = None


class _Chunk(msgspec.Struct):
    """A streamed chunk, or a whole completion: they differ only in `delta` and `message`."""

    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    error: Any = None


def error_text(body: object) -> str:
    """The sentence inside an error body of any of the usual shapes, as it came; a page for browsers has none."""
    for key in ("error", "message", "detail"):
        if isinstance(body, dict) and body.get(key):
            body = body[key]
    text = str(body or "")
    return "" if text.lstrip().startswith("<") else text


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
    """The body of /v1/models; entries whose name cannot be printed and typed are left out.

    Raises:
        WireError: it is something else.
    """
    listing = _decode(b"".join(pieces), _Listing)
    return [served for served in listing.data if served.id.isprintable() and 0 < len(served.id) <= 256]


def read_reply(
    pieces: Iterable[bytes], streamed: bool, most: int, on_text: Callable[[str], None] | None = None
) -> Reply:
    """The body of a completion.

    Args:
        pieces: the body, bounded.
        streamed: server-sent events; otherwise one JSON object.
        most: characters a reply may have.
        on_text: gets the text piece by piece.

    Raises:
        WireError: it is no completion, an error, too long, or ends before its end.
    """
    gathered = _Gathered(most, on_text)
    for data in _events(pieces) if streamed else (b"".join(pieces), b"[DONE]"):
        if data == b"[DONE]":
            gathered.done = True
            break
        gathered.add(_decode(data, _Chunk))
    return gathered.reply()


class _Gathered:
    """A reply as it comes in."""

    def __init__(self, most: int, on_text: Callable[[str], None] | None) -> None:
        self.done = False
        self._most, self._on_text = most, on_text
        self._text: list[str] = []
        self._size = 0
        self._thinking = self._chosen = False
        self._finish: str | None = None
        self._usage = _Usage()

    def add(self, chunk: _Chunk) -> None:
        if chunk.error:
            raise WireError("failed", error_text(chunk.error), broken=True)
        self._usage = chunk.usage or self._usage
        for choice in chunk.choices or ():
            self._chosen = True
            self._finish = choice.finish_reason or self._finish
            self._hear(choice.delta or choice.message or _Part())

    def _hear(self, part: _Part) -> None:
        """Put thoughts that the server parted from the content back into their tags."""
        if thought := part.reasoning or part.reasoning_content:
            self._say(thought if self._thinking else f"<think>{thought}")
            self._thinking = True
        if part.content:
            self._say(f"</think>\n{part.content}" if self._thinking else part.content)
            self._thinking = False

    def _say(self, text: str) -> None:
        self._size += len(text)
        if self._size > self._most:
            raise WireError(f"sent over {self._most:,} characters in one reply")
        self._text.append(text)
        if self._on_text:
            self._on_text(text)

    def reply(self) -> Reply:
        if not self._chosen:
            raise WireError("sent something that is no chat completion")
        if not (self.done or self._finish) or self._finish in _BROKEN_OFF:
            raise WireError("stopped before its answer was whole", broken=True)
        return Reply(
            text="".join(self._text),
            finish="length" if self._finish == "length" else "stop",
            prompt_tokens=self._usage.prompt_tokens,
            completion_tokens=self._usage.completion_tokens,
        )


def _events(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The data of server-sent events, one line each; comments and other fields are skipped."""
    for line in _lines(pieces):
        field, _, value = line.partition(b":")
        if field == b"data":
            yield value.strip()


def _lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    rest: list[bytes] = []
    for piece in pieces:
        *ended, last = piece.split(b"\n")
        for line in ended:
            yield b"".join((*rest, line))
            rest.clear()
        rest.append(last)
    yield b"".join(rest)


def _decode(data: bytes, kind: type[_T]) -> _T:
    try:
        return msgspec.json.decode(data, type=kind)
    except (ValueError, RecursionError):  # nesting deeper than the interpreter's limit raises the latter
        raise WireError("sent something that cannot be read", data[:2048].decode(errors="replace")) from None
