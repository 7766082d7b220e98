"""Builds the reply of an OpenAI-compatible server from its chunks; nothing that it sends is trusted.

Read `ReplyBuilder` (joins chunks), then `CallPieces` (joins tool calls) and `ReceivedReply`. A chunk has choices with a
`delta`, a whole completion choices with a `message`. A field of a wrong type is an error if a reply is made of it.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from virc.backends.interface import Likeliest, ScoredReply
from virc.backends.openai.errors import WireError, failed
from virc.backends.openai.received.texts import Text, harmony
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


class CallPieces:
    """Joins the pieces of one tool call."""

    def __init__(self) -> None:
        self.name = ""
        self._text = Text()
        self._object: dict[str, Any] | None = None
        self._sent: dict[str, Any] | None = {}

    @property
    def is_complete(self) -> bool:
        """Whether the arguments are complete, so that another name begins another call."""
        if self._object is not None:
            return True
        try:
            return isinstance(msgspec.json.decode(self._text.whole), dict)
        except (ValueError, RecursionError):
            return False

    def add(self, name: str, arguments: object, sent: Mapping[str, Any] | None = None) -> None:
        """Add a piece; `sent` is the JSON object that it was read from. A name repeated in every piece counts once."""
        if sent is None:
            self._sent = None
        elif self._sent is not None:
            merge(self._sent, {key: value for key, value in sent.items() if key != "index"})
        if name != self.name:
            self.name += name
        if isinstance(arguments, str):
            # A piece that begins with all of the text so far repeats it, as `{{` is no JSON.
            self._text.add(arguments, is_whole=True)
        elif isinstance(arguments, dict):
            self._object = arguments
        elif arguments:
            raise _unreadable(arguments)

    def call(self) -> Called:
        return Called(self.name, self._text.whole if self._object is None else self._object)

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

    def add(self, chunk: Mapping[str, Any]) -> None:
        if is_given(chunk.get("error")):
            raise failed({"error": chunk["error"]})
        self.add_usage(chunk.get("usage"))
        seen = set[float]()
        for position, choice in enumerate(_listed(chunk.get("choices"))):
            if choice is None:
                continue
            if not isinstance(choice, dict):
                raise _unreadable(choice)
            index = _number(choice.get("index"), position)
            if index not in seen and self._is_chosen(index):
                self._add(choice)
            seen.add(index)

    @property
    def is_finished(self) -> bool:
        return self._finish is not None

    def _is_chosen(self, index: float) -> bool:
        """Whether no choice with a lower index has arrived. The first of a lower index discards the others."""
        if not self.has_choice or index < self._index:
            if self.has_choice:
                self._begin()
            self._index = index
        return index == self._index

    def _add(self, choice: Mapping[str, Any]) -> None:
        if is_given(choice.get("error")):
            raise failed({"error": choice["error"]})
        finish, delta, message = (choice.get(name) for name in ("finish_reason", "delta", "message"))
        self.add_finish(finish.get("type") or "stop" if isinstance(finish, dict) else finish)
        self.add_scores(choice.get("logprobs"))
        self.has_message |= message is not None
        for part, is_whole in ((delta, False), (message, True)):
            if part:
                self.add_message(part, is_whole)
        # Together sends each piece twice: as `text` of a completion, and as `content` of a chat.
        if not any(part.get("content") for part in (delta, message) if isinstance(part, dict)):
            self.add_content(_text(choice, "text"))

    def add_message(self, sent: object, is_whole: bool = False) -> None:
        """Add a message, a piece of one, or its content as a text. Raises WireError: it is not a message."""
        sent = {"content": sent} if isinstance(sent, str) else sent or {}
        if not isinstance(sent, dict):
            raise _unreadable(sent)
        if is_whole:
            self._sent = {}
        fields = {key: value for key, value in sent.items() if key != "tool_calls"}
        content = sent.get("content")
        if isinstance(self._sent.get("content"), list) and isinstance(content, str):
            fields["content"] = [{"type": "text", "text": content}] if content else []
        merge(self._sent, fields)
        # of the fields for thoughts, the first with a text counts
        thought, text = next(filter(None, (_thought_text(sent.get(name)) for name in _THOUGHTS)), ""), ""
        for element in [str(content)] if type(content) in (str, int, float) else _listed(content):
            if isinstance(element, str):
                text += element
                continue
            if not isinstance(element, dict):
                raise _unreadable(element)
            kind, thinking = str(element.get("type")), element.get("thinking")
            if thinking is not None or _THOUGHT_KIND.search(kind):
                thought += _thought_text(thinking) or _text(element, "text")
            elif element.get("name") and isinstance(element.get("input"), dict):
                self.add_call(len(self._calls), {"name": element["name"], "arguments": element["input"]})
            else:
                self._has_unread_call |= bool(_CALL_KIND.search(kind))
                self.add_refusal(element.get("refusal"))
                text += _text(element, "text")
        self.add_thought(thought, is_whole)
        self.add_content(text, is_whole)
        self.add_refusal(sent.get("refusal"))
        for position, call in enumerate(_listed(sent.get("tool_calls"))):
            if call:
                self.add_call(position, call, call)
        if sent.get("function_call"):
            self.add_call(0, {"index": 0, "function": sent["function_call"]})

    def add_finish(self, finish: object) -> None:
        """Note that a choice has arrived and, if it has ended, the finish reason."""
        self.has_choice = True
        self._finish = self._finish if str(finish or "").lower() in _PENDING else str(finish)

    def add_usage(self, said: object) -> None:
        self._usage = usage(said, self._usage)

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

    def add_refusal(self, text: object) -> None:
        self._refusal += [text] if text and isinstance(text, str) else []

    def add_call(self, position: int, call: object, sent: Mapping[str, Any] | None = None) -> None:
        """Add a tool call, or a piece of one, identified by its index, else by its id, else by its position.

        A piece at position 0 without index, id and name continues the last call. Some servers write name and arguments
        next to the id, and not within `function`. `sent` is the call with the server's own fields.
        """
        function = (call.get("function") or call) if isinstance(call, dict) else None
        if not isinstance(call, dict) or not isinstance(function, dict):
            raise _unreadable(call)
        index, name, arguments = call.get("index"), _text(function, "name"), function.get("arguments")
        key: float | str = position if index is None else _number(index, position)
        if index is None and call.get("id") is not None:
            key = str(call["id"])
        elif index is None and not name and self._calls and position == 0:
            key = next(reversed(self._calls))
        pieces = self._calls.setdefault(self._last_key.get(key, key), CallPieces())
        # A server that gives every call the index 0 begins each with a name.
        if name and pieces.name and pieces.is_complete:
            self._last_key[key] = f"{key}/{len(self._calls)}"
            pieces = self._calls.setdefault(self._last_key[key], CallPieces())
        self._count(f"{name}{arguments or ''}", "")
        pieces.add(name, arguments, sent)
        self._has_unread_call |= not pieces.name  # until a later piece names the call

    def add_scores(self, logprobs: object) -> None:
        """Add log-probabilities of tokens; only the first ones, of the first token, are kept."""
        self._likeliest = self._likeliest or likeliest(logprobs)

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
            cost=self._usage.cost,
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


def _unreadable(value: object) -> WireError:
    return WireError("sent something that cannot be read", str(value)[:2048])


def _listed(value: Any) -> list[Any]:
    """The elements of a list; one object stands for a list of it, as some servers have it."""
    if value and not isinstance(value, list | dict):
        raise _unreadable(value)
    return [value] if isinstance(value, dict) else value or []


def _text(said: Mapping[str, Any], name: str) -> str:
    value = said.get(name) or ""
    if not isinstance(value, str):
        raise _unreadable(value)
    return value


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
