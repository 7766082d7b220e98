"""What an OpenAI-compatible server sends, read with nothing believed: typed, bounded in bytes and time."""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, Literal

import msgspec

from virc.backends.openai.body import WireError, decoded, error_text, lines
from virc.reasoning.bodies import Called
from virc.reasoning.session import Reply

_BROKEN_OFF = frozenset({"abort", "error"})  # what vLLM says of a reply that it was ended in
_FINISHES: Mapping[str, Literal["length", "call"]] = {
    **dict.fromkeys(("length", "max_tokens", "max_length", "model_length"), "length"),
    **dict.fromkeys(("tool_calls", "tool_call", "tool_use", "function_call"), "call"),
}
"""Why a reply ended, by the words of several servers in lower case; any other word is a usual end."""
_FILTERED = dict.fromkeys(("content_filter", "safety"), "the server's content filter ended the reply")
_THINKS, _CALLS = re.compile("think|reason", re.IGNORECASE), re.compile("tool|function", re.IGNORECASE)
"""Kinds of parts of a content that are a thought, or a call in a form of its own."""
_MOST_NESTED = 20
_Count = Annotated[int, msgspec.Meta(ge=0, le=2**40)]


class _Usage(msgspec.Struct):
    prompt_tokens: _Count | None = None
    completion_tokens: _Count | None = None


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | dict[str, Any] | None = None


class Call(msgspec.Struct):
    """A tool call, or a piece of one: its arguments are an object, or text that comes in pieces."""

    index: int | None = None
    id: str | None = None
    function: _Function | None = None


class _Content(msgspec.Struct):
    """A part of a content that is a list: a text, or a thought, which is itself a text or a list of texts."""

    type: str | None = None
    text: str | None = None
    thinking: Any = None


class _Part(msgspec.Struct):
    """A message, or a piece of one; servers that take thoughts out of the content name them in several ways."""

    content: str | list[_Content | str] | None = None
    reasoning: Any = None
    reasoning_content: Any = None
    thinking: Any = None
    tool_calls: list[Call] | None = None
    function_call: _Function | None = None
    refusal: str | None = None


class _Choice(msgspec.Struct):
    delta: _Part | None = None
    message: _Part | None = None
    finish_reason: str | None = None


class Chunk(msgspec.Struct):
    """A streamed chunk, or a whole completion: they differ only in `delta` and `message`."""

    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    error: Any = None


def read_reply(
    pieces: Iterable[bytes], streamed: bool, most: int, on_text: Callable[[str], None] | None = None
) -> Reply:
    """The body of a completion: `streamed` as server-sent events, or one JSON object.

    `pieces` is the bounded body, `most` the characters that the reply may have, and `on_text` gets its text in pieces.

    Raises:
        WireError: it is no completion, an error, too long, or ends before its end.
    """
    gathered = Gathered(most, on_text)
    fields = (line.partition(b":") for line in lines(pieces))  # of server-sent events, one line each
    events = (value.strip() for field, _, value in fields if field == b"data")
    for data in events if streamed else (b"".join(pieces), b"[DONE]"):
        if data == b"[DONE]":
            gathered.done = True
            break
        gathered.add(decoded(data, Chunk))
    return gathered.reply()


class Gathered:
    """A reply as it comes in.

    Args:
        most: characters that it may have.
        on_text: gets thought and content piece by piece, the thought between <think> marks.
    """

    def __init__(self, most: int, on_text: Callable[[str], None] | None) -> None:
        self.done = False
        self._most, self._on_text = most, on_text
        self._text: list[str] = []
        self._thought: list[str] = []
        self._refusal: list[str] = []
        self._calls: dict[int | str, _Pieces] = {}
        self._size = 0
        self._thinking = self._chosen = self._lost_call = False
        self._finish: str | None = None
        self._usage = _Usage()

    def add(self, chunk: Chunk) -> None:
        """Take a chunk of a stream, or a whole completion."""
        if chunk.error:
            raise WireError("failed", error_text(chunk.error), broken=True)
        self._usage = chunk.usage or self._usage
        for choice in chunk.choices or ():
            self.ended(choice.finish_reason)
            part = choice.delta or choice.message or _Part()
            self.thought(_texts(part.reasoning_content) or _texts(part.reasoning) or _texts(part.thinking))
            for content in [part.content] if isinstance(part.content, str) else part.content or ():
                self._content(content)
            self._refusal += [part.refusal] if part.refusal else []
            for position, call in enumerate(part.tool_calls or ()):
                self.call(position, call)
            if part.function_call:
                self.call(0, Call(0, None, part.function_call))

    def ended(self, finish: str | None) -> None:
        """Note that something came, and why the reply ended, where it did."""
        self._chosen = True
        self._finish = finish or self._finish

    def counted(self, prompt: int | None, completion: int | None) -> None:
        """Note how many tokens were read and drawn."""
        self._usage = _Usage(prompt, completion)

    def thought(self, text: str) -> None:
        """Take a piece of the thought."""
        if text:
            self._count(text, text if self._thinking else f"<think>{text}")
            self._thought.append(text)
            self._thinking = True

    def content(self, text: str) -> None:
        """Take a piece of the content."""
        if text:
            self._count(text, f"</think>\n{text}" if self._thinking else text)
            self._text.append(text)
            self._thinking = False

    def call(self, position: int, call: Call) -> None:
        """Take a tool call, or a piece of one: by its index, else by its id, else by its place."""
        key: int | str = position if call.index is None else call.index
        if call.index is None and call.id is not None:
            key = call.id
        pieces = self._calls.setdefault(key, _Pieces())
        function = call.function or _Function()
        # A server that gives every call the index 0 begins each with a name.
        if function.name and pieces.name and pieces.ended:
            pieces = self._calls.setdefault(f"{key}/{len(self._calls)}", _Pieces())
        self._count(f"{function.name or ''}{function.arguments or ''}", "")
        pieces.add(function)
        self._lost_call |= not pieces.name  # a later piece, or the end of the reply, shows whether it has one

    def reply(self) -> Reply:
        """The whole reply.

        Raises:
            WireError: it is none, or did not come to its end.
        """
        if not self._chosen:
            raise WireError("sent something that is no chat completion")
        if not (self.done or self._finish) or self._finish in _BROKEN_OFF:
            raise WireError("stopped before its answer was whole", broken=True)
        self._lost_call &= not any(pieces.name for pieces in self._calls.values())
        finish = (self._finish or "").lower().replace("-", "_")
        return Reply(
            text="".join(self._text),
            finish="call" if self._lost_call else _FINISHES.get(finish, "stop"),
            prompt_tokens=self._usage.prompt_tokens,
            completion_tokens=self._usage.completion_tokens,
            thought="".join(self._thought) or None,
            calls=tuple(pieces.called() for pieces in self._calls.values() if pieces.name),
            refusal="".join(self._refusal) or _FILTERED.get(finish),
        )

    def _content(self, content: _Content | str) -> None:
        if isinstance(content, str):
            self.content(content)
        elif content.thinking is not None or _THINKS.search(content.type or ""):
            self.thought(_texts(content.thinking) or content.text or "")
        elif _CALLS.search(content.type or ""):
            self._lost_call = True
        else:
            self.content(content.text or "")

    def _count(self, text: str, shown: str) -> None:
        self._size += len(text)
        if self._size > self._most:
            raise WireError(f"sent over {self._most:,} characters in one reply")
        if self._on_text and shown:
            self._on_text(shown)


class _Pieces:
    """A tool call as it comes in."""

    def __init__(self) -> None:
        self.name = ""
        self._text: list[str] = []
        self._object: dict[str, Any] | None = None

    @property
    def ended(self) -> bool:
        """Whether its arguments are whole, so that another name begins another call."""
        if self._object is not None:
            return True
        try:
            return isinstance(msgspec.json.decode("".join(self._text)), dict)
        except (ValueError, RecursionError):
            return False

    def add(self, function: _Function) -> None:
        """Take a piece; a name that is sent again with every piece is the same."""
        if function.name and function.name != self.name:
            self.name += function.name
        if isinstance(function.arguments, str):
            self._text.append(function.arguments)
        elif function.arguments is not None:
            self._object = function.arguments

    def called(self) -> Called:
        """The whole call."""
        return Called(self.name, "".join(self._text) if self._object is None else self._object)


def _texts(value: object, depth: int = 0) -> str:
    """The text of a thought: a text, or a list of texts and of objects that hold one."""
    if isinstance(value, str):
        return value
    if depth > _MOST_NESTED:
        return ""
    if isinstance(value, dict):
        return _texts(value.get("text") or value.get("thinking"), depth + 1)
    return "".join(_texts(each, depth + 1) for each in value) if isinstance(value, list) else ""
