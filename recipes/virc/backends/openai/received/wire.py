"""Builds the reply of an OpenAI-compatible server from its chunks; nothing that it sends is trusted.

Read `Chunk` (what arrives), then `ReplyBuilder` (joins chunks), `CallPieces` (joins tool calls) and `ReceivedReply`.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from virc.backends.interface import Likeliest, ScoredReply
from virc.backends.openai.body import WireError, failed, fitted
from virc.backends.openai.received.texts import Text, harmony, joined
from virc.backends.openai.received.usage import Usage, likeliest, usage
from virc.reasoning.bodies import Called

_ENDS: Mapping[str, tuple[str, ...]] = {
    "stop": (
        "stop", "stop sequence", "stop string", "stop string found", "stop token", "stop word", "matched stop",
        "eos", "eos token", "eos found", "eot", "eot token", "eot id", "im end", "end", "end of text", "end of turn",
        "end of sequence", "end of stream", "end turn", "turn end", "complete", "completed", "finish", "finished",
        "done", "normal",
    ),
    "length": (
        "length", "length limit", "limit", "token limit", "max length", "model length", "max tokens", "max new tokens",
        "max output tokens", "max completion tokens", "max predicted tokens reached",
    ),
    "call": ("tool calls", "tool call", "tool use", "function call", "function calls"),
}  # fmt: skip
_FINISHES: Mapping[str, Any] = {word.replace(" ", ""): finish for finish, words in _ENDS.items() for word in words}
"""Finish reasons of many servers, reduced to lower-case letters; any other word means that the reply was cut off."""
_NUMBERED = {"1": "stop", "2": "length"}  # Google's enum; if 2 means an end elsewhere, the reply is requested again
_ENUM_PREFIX = re.compile(r".*(?:reason|\.)(?=.*[a-z])", re.DOTALL)  # `finish_reason_` of `finish_reason_stop`
_PENDING = frozenset({"", "null", "none", "not_finished"})
_FILTERED = {
    **dict.fromkeys(
        ("contentfilter", "contentfiltered", "safety", "imagesafety", "prohibitedcontent", "imageprohibitedcontent",
         "blocklist", "spii", "recitation", "imagerecitation", "sensitive", "guardrailintervened"),
        "the server's content filter ended the reply",
    ),
    "refusal": "the model refuses",
}  # fmt: skip
_THOUGHTS = ("reasoning_content", "reasoning", "thinking")
_THOUGHT_KIND, _CALL_KIND = re.compile("think|reason", re.IGNORECASE), re.compile("tool|function", re.IGNORECASE)
"""The `type` of content parts that are a thought, or a call in the server's own form."""
_MAX_NESTED = 20


class Function(msgspec.Struct):
    name: str | None = None
    arguments: str | dict[str, Any] | None = None


class Call(msgspec.Struct):
    """A tool call, or a piece of one: its arguments are an object, or text that comes in pieces.

    Some servers write `name` and `arguments` next to `id` and not within `function`.
    """

    index: Any = None
    id: Any = None
    function: Function | None = None
    name: str | None = None
    arguments: str | dict[str, Any] | None = None


class CallPieces:
    """Joins the pieces of one tool call."""

    def __init__(self) -> None:
        self.name = ""
        self._text: list[str] = []
        self._size = 0
        self._object: dict[str, Any] | None = None
        self._sent: dict[str, Any] | None = {}

    @property
    def is_complete(self) -> bool:
        """Whether the arguments are complete, so that another name begins another call."""
        if self._object is not None:
            return True
        try:
            return isinstance(msgspec.json.decode("".join(self._text)), dict)
        except (ValueError, RecursionError):
            return False

    def add(self, function: Function, sent: Mapping[str, Any] | None = None) -> None:
        """Add a piece; `sent` is the JSON object that it was read from. A name repeated in every piece counts once."""
        if sent is None:
            self._sent = None
        elif self._sent is not None:
            merge(self._sent, {key: value for key, value in sent.items() if key != "index"})
        if function.name and function.name != self.name:
            self.name += function.name
        if isinstance(function.arguments, str):
            before = "".join(self._text) if 1 < self._size <= len(function.arguments) else ""
            if before and function.arguments.startswith(before):  # this piece repeats all that came before it
                self._text.clear()
                self._size = 0
            self._text.append(function.arguments)
            self._size += len(function.arguments)
        elif function.arguments is not None:
            self._object = function.arguments

    def call(self) -> Called:
        return Called(self.name, joined(self._text) if self._object is None else self._object)

    def as_sent(self) -> dict[str, Any] | None:
        """The call with all fields that the server sent, also unknown ones; None: it sent no object."""
        if self._sent is None:
            return None
        call = self.call()
        function = {**(self._sent.get("function") or {}), "name": call.name, "arguments": call.arguments}
        return {"type": "function", **self._sent, "function": function}


def merge(whole: dict[str, Any], piece: Mapping[str, Any]) -> None:
    """Merge a piece of a JSON object into the object: lists are joined, and other values are replaced."""
    for key, value in piece.items():
        present = whole.get(key)
        if isinstance(present, dict) and isinstance(value, dict):
            merge(present, value)
        elif isinstance(present, list) and isinstance(value, list):
            whole[key] = present + value
        elif value not in (None, "") or key not in whole:
            whole[key] = value


class ReceivedReply(ScoredReply, frozen=True):
    """The reply of a server."""

    cached_tokens: int = 0  # prompt tokens read from a cache or written to one; `prompt_tokens` may not include them
    is_doubtful: bool = False  # the pieces can be joined in two ways; false for a reply that is not streamed


class _Content(msgspec.Struct):
    """An element of a content list: a text, a thought (a text or a list of texts), or a call."""

    type: str | None = None
    text: str | None = None
    thinking: Any = None
    refusal: str | None = None
    id: Any = None
    name: str | None = None
    input: dict[str, Any] | None = None


class _Part(msgspec.Struct):
    """A message, or a piece of one; `_THOUGHTS` are fields of servers that separate the thought from the content."""

    content: str | int | float | list[_Content | str] | _Content | None = None
    reasoning: Any = None
    reasoning_content: Any = None
    thinking: Any = None
    tool_calls: list[Call] | Call | None = None
    function_call: Function | None = None
    refusal: str | None = None


class _Choice(msgspec.Struct):
    index: Any = None
    delta: Any = None
    message: Any = None
    text: str | None = None
    finish_reason: Any = None
    error: Any = None
    logprobs: Any = None


class Chunk(msgspec.Struct):
    """A streamed chunk (choices with a `delta`), or a whole completion (choices with a `message`)."""

    choices: list[_Choice | None] | None = None
    usage: Any = None
    error: Any = None


class ReplyBuilder:
    """Builds a reply from its chunks; of several choices, the one with the lowest index counts.

    Args:
        most: maximum length of the reply in characters.
        on_text: called with each piece of thought and content, the thought between <think> marks.
        may_repeat: whether a piece may repeat all of the text so far.
    """

    def __init__(self, most: int, on_text: Callable[[str], None] | None, may_repeat: bool = True) -> None:
        self._may_repeat = may_repeat
        self.done = self.has_choice = self.has_message = False
        self._most, self._on_text = most, on_text
        self._index = 0.0
        self._usage = Usage()
        self._begin()

    def _begin(self) -> None:
        self._text, self._thought = Text(self._may_repeat), Text(self._may_repeat)
        self._refusal = list[str]()
        self._sent = dict[str, Any]()  # the message, with all fields of the server
        self._calls: dict[float | str, CallPieces] = {}
        self._last_key = dict[float | str, str]()  # index that several calls share -> key of the last
        self._length = 0
        self._is_in_thought = self._has_unread_call = False
        self._finish: str | None = None
        self._likeliest: Likeliest | None = None

    def add(self, chunk: Chunk) -> None:
        if is_given(chunk.error):
            raise failed({"error": chunk.error})
        self._usage = usage(chunk.usage, self._usage)
        seen = set[float]()
        for position, choice in enumerate(chunk.choices or ()):
            index = position if choice is None else _number(choice.index, position)
            if choice and index not in seen and self._is_chosen(index):
                self._add(choice)
            seen.add(index)

    def _is_chosen(self, index: float) -> bool:
        """Whether no choice with a lower index has arrived. The first of a lower index discards the others."""
        if not self.has_choice or index < self._index:
            if self.has_choice:
                self._begin()
            self._index = index
        return index == self._index

    def _add(self, choice: _Choice) -> None:
        if is_given(choice.error):
            raise failed({"error": choice.error})
        finish = choice.finish_reason
        self.add_finish(finish.get("type") or "stop" if isinstance(finish, dict) else finish)
        self.add_scores(choice.logprobs)
        self.has_message |= choice.message is not None
        for part, is_whole in ((choice.delta, False), (choice.message, True)):
            if part:
                self.add_message(part, is_whole)
        # Together sends each piece twice: as `text` of a completion, and as `content` of a chat.
        messages = [part for part in (choice.delta, choice.message) if isinstance(part, dict)]
        if choice.text and not any(part.get("content") for part in messages):
            self.add_content(choice.text)

    def add_message(self, sent: object, is_whole: bool = False) -> None:
        """Add a message, a piece of one, or its content as a text. Raises WireError: it is not a message."""
        sent = {"content": sent} if isinstance(sent, str) else sent or {}
        try:
            part = fitted(sent, _Part)
        except msgspec.ValidationError:
            raise WireError("sent something that cannot be read", str(sent)[:2048]) from None
        assert isinstance(sent, dict)
        if is_whole:
            self._sent = {}
        fields = {key: value for key, value in sent.items() if key != "tool_calls"}
        if isinstance(self._sent.get("content"), list) and isinstance(part.content, str):
            fields["content"] = [{"type": "text", "text": part.content}] if part.content else []
        merge(self._sent, fields)
        # of the fields for thoughts, the first with a text counts
        thought = next(filter(None, (_thought_text(getattr(part, name)) for name in _THOUGHTS)), "")
        text = "" if isinstance(part.content, list | _Content | None) else str(part.content)
        elements = [part.content] if isinstance(part.content, _Content) else part.content  # some send no list
        for element in elements if isinstance(elements, list) else ():
            if isinstance(element, str):
                text += element
            elif element.thinking is not None or _THOUGHT_KIND.search(element.type or ""):
                thought += _thought_text(element.thinking) or element.text or ""
            elif element.name and element.input is not None:
                self.add_function(element.name, element.input)
            else:
                self._has_unread_call |= bool(_CALL_KIND.search(element.type or ""))
                self.add_refusal(element.refusal)
                text += element.text or ""
        self.add_thought(thought, is_whole)
        self.add_content(text, is_whole)
        self.add_refusal(part.refusal)
        calls: Any = part.tool_calls or []
        for position, call in enumerate(calls if isinstance(calls, list) else [calls]):
            call_sent = sent["tool_calls"][position] if isinstance(calls, list) else sent["tool_calls"]
            if call_sent:
                self.add_call(position, call, call_sent)
        if part.function_call:
            self.add_call(0, Call(0, None, part.function_call))

    def add_finish(self, finish: object) -> None:
        """Note that a choice has arrived and, if it has ended, the finish reason."""
        self.has_choice = True
        self._finish = self._finish if str(finish or "").lower() in _PENDING else str(finish)

    def set_counts(self, prompt: int | None, completion: int | None) -> None:
        self._usage = Usage(prompt, completion)

    def add_thought(self, text: str, is_whole: bool = False) -> None:
        new = self._thought.add(text, is_whole) if text else ""
        if new:
            self._count(new, new if self._is_in_thought else f"<think>{new}")
            self._is_in_thought = True

    def add_content(self, text: str, is_whole: bool = False) -> None:
        new = self._text.add(text, is_whole) if text else ""
        if new:
            self._count(new, f"</think>\n{new}" if self._is_in_thought else new)
            self._is_in_thought = False

    def add_refusal(self, text: str | None) -> None:
        self._refusal += [text] if text else []

    def add_call(self, position: int, call: Call, sent: Mapping[str, Any] | None = None) -> None:
        """Add a tool call, or a piece of one, identified by its index, else by its id, else by its position.

        A piece at position 0 without index, id and name continues the last call. `sent` is its JSON object.
        """
        function = call.function or Function(call.name, call.arguments)
        key: float | str = position if call.index is None else _number(call.index, position)
        if call.index is None and call.id is not None:
            key = str(call.id)
        elif call.index is None and not function.name and self._calls and position == 0:
            key = next(reversed(self._calls))
        pieces = self._calls.setdefault(self._last_key.get(key, key), CallPieces())
        # A server that gives every call the index 0 begins each with a name.
        if function.name and pieces.name and pieces.is_complete:
            self._last_key[key] = f"{key}/{len(self._calls)}"
            pieces = self._calls.setdefault(self._last_key[key], CallPieces())
        self._count(f"{function.name or ''}{function.arguments or ''}", "")
        pieces.add(function, sent)
        self._has_unread_call |= not pieces.name  # until a later piece names the call

    def add_scores(self, logprobs: object) -> None:
        """Add log-probabilities of tokens; only the first ones, of the first token, are kept."""
        self._likeliest = self._likeliest or likeliest(logprobs)

    def add_function(self, name: str, arguments: str | dict[str, Any]) -> None:
        self.add_call(len(self._calls), Call(None, None, Function(name, arguments)))

    def reply(self) -> ReceivedReply:
        """Return the complete reply. Raises WireError: there is none, or it was cut off."""
        if not self.has_choice:
            raise WireError("sent no chat completion")
        word = (self._finish or "stop").lower().partition(":")[0]
        end = _NUMBERED.get(word) or re.sub("[^a-z]", "", _ENUM_PREFIX.sub("", word))
        is_known_end = end in _FINISHES or end in _FILTERED
        if not (self.done or self._finish) or not is_known_end:
            raise WireError("stopped before its answer was whole", self._finish or "", broken=True)
        text, thought = self._text.whole, self._thought.whole
        if self._index and self._on_text and text:  # its pieces were withheld: a lower index could have followed
            self._on_text(text)
        self._has_unread_call &= not any(pieces.name for pieces in self._calls.values())
        calls = tuple(pieces.call() for pieces in self._calls.values() if pieces.name)
        if channels := harmony(text):
            text, thought, calls = channels.text, thought + channels.thought, calls + channels.calls
        return ReceivedReply(
            text=text,
            finish="call" if self._has_unread_call else _FINISHES.get(end, "stop"),
            prompt_tokens=self._usage.prompt,
            completion_tokens=self._usage.drawn,
            thought=thought or None,
            calls=calls,
            refusal="".join(self._refusal) or _FILTERED.get(end),
            cached_tokens=self._usage.cached,
            likeliest=self._likeliest,
            is_doubtful=self._text.is_doubtful,
            message=None if channels else self._message(text, thought),
        )

    def _message(self, text: str, thought: str) -> Mapping[str, Any] | None:
        """The message with the server's fields, for the next request; None: it has no structured tool calls."""
        calls = [pieces.as_sent() for pieces in self._calls.values() if pieces.name]
        if not calls or None in calls:
            return None
        message = {"role": "assistant", **self._sent, "tool_calls": calls}
        if text or isinstance(message.get("content"), str):
            message["content"] = message["content"] if isinstance(message.get("content"), list) else text
        return message | {name: thought for name in _THOUGHTS if isinstance(message.get(name), str)}

    def _count(self, text: str, shown: str) -> None:
        self._length += len(text)
        if self._length > self._most:
            raise WireError(f"sent over {self._most:,} characters in one reply")
        if self._on_text and shown and not self._index:
            self._on_text(shown.encode(errors="replace").decode())


def _thought_text(value: object, depth: int = 0) -> str:
    """The text of a thought, which is a text, or a list of texts and of objects with a text."""
    if isinstance(value, str):
        return value
    if depth > _MAX_NESTED:
        return ""
    if isinstance(value, dict):
        return _thought_text(value.get("text") or value.get("thinking"), depth + 1)
    return "".join(_thought_text(each, depth + 1) for each in value) if isinstance(value, list) else ""


def is_given(error: object) -> bool:
    """Whether a field `error` contains an error; some servers send an empty one in every answer."""
    return any(error.values()) if isinstance(error, dict) else bool(error)


def _number(index: object, position: int) -> float:
    """The index of a choice or call; its position in the list if it has none."""
    if isinstance(index, str) and index.isdecimal() and len(index) < 10:
        return int(index)
    return index if isinstance(index, int | float) and not isinstance(index, bool) else position
