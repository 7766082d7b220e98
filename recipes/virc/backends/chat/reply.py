"""The reply in the body of a server's answer, streamed or whole; nothing that a server sends is trusted.

`read_reply` has `ReplyBuilder` add up the chunks that `chunks` finds in the body. A chunk has choices with a `delta`; a
whole completion is one chunk, whose `message` is added in the same way. A field of a wrong type is an error if a reply
is made of it.
"""

import codecs
import json
import math
import re
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

from virc.backends.chat.chunks import JsonObject, as_chunk, json_values, objects
from virc.backends.chat.errors import StatusError, WireError, error_text, failed, parsed, reported
from virc.backends.chat.providers import FILTERED, FINISHES, NUMBERED_FINISHES, THOUGHTS
from virc.backends.chat.usage import fields_of_usage
from virc.backends.interface import Likeliest, ScoredReply
from virc.config.taken import left
from virc.reasoning.bodies import Called

_MAX_NESTED = 20  # lists within each other in a thought
_SILENT_SECONDS = 5.0
"""Longest wait for each piece after the finish reason; the client library of OpenAI waits as long as for a reply."""
_MIN_REPEATED = 16
"""Minimum length of a text, in characters, for a piece that begins with it to be a repetition beyond doubt."""
_PENDING = frozenset({"", "null", "none", "not_finished"})  # finish reasons of a choice that goes on
_ENUM_PREFIX = re.compile(r".*(?:reason|\.)(?=.*[a-z])", re.DOTALL)  # `finish_reason_` of `finish_reason_stop`
_THOUGHT_KIND, _CALL_KIND = re.compile("think|reason", re.IGNORECASE), re.compile("tool|function", re.IGNORECASE)
"""The `type` of content parts that are a thought, or a call in the server's own form."""
_OF_CHUNK = ("choices", "usage", "error", "model")
_OF_CHOICE = ("index", "finish_reason", "delta", "message", "text", "logprobs", "error", "usage")
_OF_MESSAGE = ("role", "content", "refusal", "tool_calls", "function_call", *THOUGHTS)
_LONE_SURROGATE = re.compile("[\ud800-\udc7f\udd00-\udfff]")
"""Half of a surrogate pair; those from U+DC80 to U+DCFF are left out, as they are escaped bytes (PEP 383)."""


class ReceivedReply(ScoredReply, frozen=True):
    """The reply of a server."""

    cached_tokens: int = 0  # prompt tokens read from a cache or written to one; `prompt_tokens` may not include them
    is_doubtful: bool = False  # the pieces can be joined in two ways; false for a reply that is not streamed
    thought_tokens: int = 0
    picture_tokens: int | None = None
    model: str = ""  # which one answered, as the server calls it
    has_logprobs: bool = False


def read_reply(
    pieces: Iterable[bytes],
    most: int,
    on_text: Callable[[str], None] | None = None,
    hang_up: Callable[[], None] | None = None,
) -> ReceivedReply:
    """Read the body of a completion, streamed or whole, with at most `most` characters.

    Args:
        on_text: called with each piece of thought and content, the thought between <think> marks.
        hang_up: ends the connection from another thread: a server may keep it open after the end of its reply.

    Raises:
        WireError: it is no completion, an error, too long, or ends before its end.
    """
    builder, odd = ReplyBuilder(most, on_text), JsonObject()
    ended = _up_to_silence(pieces, lambda: builder.is_finished, hang_up) if hang_up else pieces
    for number, value in enumerate(json_values(ended)):
        if value is None:
            builder.done = True
            break
        sent, is_event = value
        chunk = sent if sent.get("choices") else as_chunk(sent)
        if chunk is None:
            if builder.has_choice and reported(sent):
                raise failed(sent)
            odd = odd or sent
        builder.add(chunk or sent)
        # A message that is all of a body needs no other end; a stream may be cut behind it.
        builder.done = builder.has_message and number == 0 and not is_event
        if sent.get("done") is True:  # Ollama's last line
            break
    if not builder.has_choice and odd:
        raise _no_completion(odd)
    return builder.reply()


def _up_to_silence(
    pieces: Iterable[bytes], is_finished: Callable[[], bool], hang_up: Callable[[], None]
) -> Iterator[bytes]:
    """Yield the pieces of a body. After the finish reason usage or `[DONE]` may follow: end when no piece comes."""
    further, is_silent = iter(pieces), threading.Event()

    def end() -> None:
        is_silent.set()
        hang_up()

    while True:
        timer = None
        if is_finished():
            timer = threading.Timer(_SILENT_SECONDS, end)
            timer.daemon = True
            timer.start()
        try:
            piece = next(further)
        except StopIteration:
            return
        except WireError:
            if is_silent.is_set():
                return
            raise
        finally:
            if timer:
                timer.cancel()
        yield piece


def _no_completion(sent: Mapping[str, Any]) -> WireError:
    if sent.get("type") in ("message", "message_start") and not is_given(sent.get("error")):
        return StatusError(404, {}, {"type": "error", "error": {}})  # Anthropic's
    if reported(sent) and error_text(sent):
        return failed(sent)
    quoted = json.dumps(sent, ensure_ascii=False)[:2048].encode(errors="replace").decode()
    return WireError("sent something that is no chat completion", quoted)


class ReplyBuilder:
    """Builds a reply from its chunks; of several choices, the one with the lowest index counts.

    Args:
        most: maximum length of the reply in characters.
        on_text: as of `read_reply`.
        may_repeat: whether a piece may repeat all of the text so far.
    """

    def __init__(self, most: int, on_text: Callable[[str], None] | None, may_repeat: bool = True) -> None:
        self._may_repeat = may_repeat
        self.done = self.has_choice = self.has_message = False
        self._most, self._on_text = most, on_text
        self._index = math.inf
        self._usage, self._model, self._left = JsonObject(), "", dict[tuple[str, str], None]()
        self._begin()

    def _begin(self) -> None:
        self._text, self._thought = _Text(self._may_repeat), _Text(self._may_repeat)
        self._refusal = list[str]()
        self._sent = JsonObject()  # the message, with all fields of the server
        self._calls: dict[float | str, _CallPieces] = {}
        self._last_key = dict[float | str, str]()  # index that several calls share -> key of the last
        self._length = 0
        self._is_in_thought = self._has_unread_call = False
        self._finish: str | None = None
        self._likeliest: Likeliest | None = None
        self._has_logprobs = False

    @property
    def is_finished(self) -> bool:
        return self._finish is not None

    def add(self, chunk: Mapping[str, Any]) -> None:
        if is_given(chunk.get("error")):
            raise failed({"error": chunk["error"]})
        self._leave("reply", chunk, _OF_CHUNK)
        self._model = str(chunk.get("model") or self._model)
        self._add_usage(chunk.get("usage"))
        seen = set[float]()
        for position, choice in enumerate(_listed(chunk.get("choices"))):
            if choice is None:
                continue
            if not isinstance(choice, dict):
                raise _unreadable(choice)
            index = _number(choice.get("index"), position)
            if index < self._index:  # the first of a lower index discards the others
                self._begin()
                self._index = index
            if index == self._index and index not in seen:
                self._add_choice(choice)
            elif choice.get("delta") or choice.get("message") or choice.get("text"):
                self._left["reply", "choices"] = None
            seen.add(index)

    def _add_usage(self, usage: object) -> None:
        if isinstance(usage, Mapping):  # what the server leaves out now stays as it was
            self._usage |= {name: count for name, count in usage.items() if count or name == "cost"}

    def _leave(self, edge: str, sent: Mapping[str, Any], used: Collection[str]) -> None:
        self._left |= dict.fromkeys((edge, name) for name in left(edge, sent, used))

    def _add_choice(self, choice: Mapping[str, Any]) -> None:
        if is_given(choice.get("error")):
            raise failed({"error": choice["error"]})
        finish, delta, message = (choice.get(name) for name in ("finish_reason", "delta", "message"))
        self._leave("choice", choice, _OF_CHOICE)
        self._add_usage(choice.get("usage"))  # Moonshot's
        self._has_logprobs |= is_given(choice.get("logprobs"))
        self.add_finish(finish.get("type") or "stop" if isinstance(finish, dict) else finish)
        self._likeliest = self._likeliest or _likeliest(choice.get("logprobs"))  # of the first token alone
        self.has_message |= message is not None
        for part, is_whole in ((delta, False), (message, True)):
            if part:
                self._add_message(part, is_whole)
        # Together sends each piece twice: as `text` of a completion, and as `content` of a chat.
        if not any(part.get("content") for part in (delta, message) if isinstance(part, dict)):
            self._add_content(_text_of(choice, "text"))

    def add_finish(self, finish: object) -> None:
        """Note that a choice has arrived and, if it has ended, the finish reason."""
        self.has_choice = True
        self._finish = self._finish if str(finish or "").lower() in _PENDING else str(finish)

    def _add_message(self, sent: object, is_whole: bool) -> None:
        """Add a message, a piece of one, or its content as a text. Raises WireError: it is not a message."""
        sent = {"content": sent} if isinstance(sent, str) else sent
        if not isinstance(sent, dict):
            raise _unreadable(sent)
        content = sent.get("content")
        self._keep_fields(sent, content, is_whole)
        # of the fields for thoughts, the first with a text counts
        thought, text = next(filter(None, (_thought_text(sent.get(name)) for name in THOUGHTS)), ""), ""
        for element in [str(content)] if type(content) in (str, int, float) else _listed(content):
            if isinstance(element, str):
                text += element
                continue
            if not isinstance(element, dict):
                raise _unreadable(element)
            kind, thinking = str(element.get("type")), element.get("thinking")
            if thinking is not None or _THOUGHT_KIND.search(kind):
                thought += _thought_text(thinking) or _text_of(element, "text")
            elif element.get("name") and isinstance(element.get("input"), dict):
                self._add_call(len(self._calls), {"name": element["name"], "arguments": element["input"]}, None)
            else:
                self._has_unread_call |= bool(_CALL_KIND.search(kind))
                self._add_refusal(element.get("refusal"))
                text += _text_of(element, "text")
                if not (element.keys() & {"text", "refusal"} or _CALL_KIND.search(kind)):
                    self._leave("content", {kind: element}, ())
        if thought and (new := self._thought.add(thought, is_whole)):
            self._count(new, new if self._is_in_thought else f"<think>{new}")
            self._is_in_thought = True
        self._add_content(text, is_whole)
        self._add_refusal(sent.get("refusal"))
        for position, call in enumerate(_listed(sent.get("tool_calls"))):
            if call:
                self._add_call(position, call, call)
        if sent.get("function_call"):
            self._add_call(0, {"index": 0, "function": sent["function_call"]}, None)

    def _keep_fields(self, sent: Mapping[str, Any], content: object, is_whole: bool) -> None:
        """Keep all fields of the server but the calls, whose pieces are joined by themselves."""
        fields = {key: value for key, value in sent.items() if key != "tool_calls"}
        if is_whole:
            self._sent = {}
        elif isinstance(self._sent.get("content"), list) and isinstance(content, str):
            fields["content"] = [{"type": "text", "text": content}] if content else []
        _merge(self._sent, fields)

    def _add_content(self, text: str, is_whole: bool = False) -> None:
        if text and (new := self._text.add(text, is_whole)):
            self._count(new, f"</think>\n{new}" if self._is_in_thought else new)
            self._is_in_thought = False

    def _add_refusal(self, text: object) -> None:
        self._refusal += [text] if text and isinstance(text, str) else []

    def _add_call(self, position: int, call: object, sent: Mapping[str, Any] | None) -> None:
        """Add a tool call, or a piece of one, identified by its index, else by its id, else by its position.

        A piece at position 0 without index, id and name continues the last call. Some servers write name and arguments
        next to the id, and not within `function`. `sent` is the call with the server's own fields.
        """
        function = (call.get("function") or call) if isinstance(call, dict) else None
        if not isinstance(call, dict) or not isinstance(function, dict):
            raise _unreadable(call)
        index, name, arguments = call.get("index"), _text_of(function, "name"), function.get("arguments")
        key: float | str = position if index is None else _number(index, position)
        if index is None and call.get("id") is not None:
            key = str(call["id"])
        elif index is None and not name and self._calls and position == 0:
            key = next(reversed(self._calls))
        pieces = self._calls.setdefault(self._last_key.get(key, key), _CallPieces())
        # A server that gives every call the index 0 begins each with a name.
        if name and pieces.name and pieces.is_complete:
            self._last_key[key] = f"{key}/{len(self._calls)}"
            pieces = self._calls.setdefault(self._last_key[key], _CallPieces())
        self._count(f"{name}{arguments or ''}", "")
        pieces.add(name, arguments, sent)
        self._has_unread_call |= not pieces.name  # until a later piece names the call

    def _count(self, text: str, shown: str) -> None:
        self._length += len(text)
        if self._length > self._most:
            raise WireError(f"sent over {self._most:,} characters in one reply")
        if self._on_text and shown:
            self._on_text(shown.encode(errors="replace").decode())

    def reply(self) -> ReceivedReply:
        """Return the complete reply. Raises WireError: there is none, or it was cut off."""
        if not self.has_choice:
            raise WireError("sent no chat completion")
        word = (self._finish or "stop").lower().partition(":")[0]
        end = NUMBERED_FINISHES.get(word) or re.sub("[^a-z]", "", _ENUM_PREFIX.sub("", word))
        if not (self.done or self._finish) or not (end in FINISHES or end in FILTERED):
            raise WireError("stopped before its answer was whole", self._finish or "", broken=True)
        text, thought = self._text.whole, self._thought.whole
        calls = [pieces for pieces in self._calls.values() if pieces.name]
        called, message = tuple(pieces.call() for pieces in calls), self._message(text, thought, calls)
        if channels := _harmony(text):
            thought, text, called, message = thought + channels[0], channels[1], called + channels[2], None
        if message is None:  # else all of it is sent back
            self._leave("reply message", self._sent, _OF_MESSAGE)
        usage = fields_of_usage(self._usage)
        return ReceivedReply(
            text=text,
            finish="call" if self._has_unread_call and not calls else FINISHES.get(end, "stop"),
            thought=thought or None,
            calls=called,
            refusal="".join(self._refusal) or FILTERED.get(end),
            likeliest=self._likeliest,
            left=(*self._left, *usage.pop("left")),
            model=self._model,
            has_logprobs=self._has_logprobs,
            is_doubtful=self._text.is_doubtful,
            message=message,
            **usage,
        )

    def _message(self, text: str, thought: str, calls: "list[_CallPieces]") -> Mapping[str, Any] | None:
        """The message with the server's fields, for the next request; None: it has no structured tool calls."""
        sent = [pieces.as_sent() for pieces in calls]
        if not sent or None in sent:
            return None
        message = {"role": "assistant", **self._sent, "tool_calls": sent}
        if text or isinstance(message.get("content"), str):
            message["content"] = message["content"] if isinstance(message.get("content"), list) else text
        return message | {name: thought for name in THOUGHTS if isinstance(message.get(name), str)}


class _CallPieces:
    """Joins the pieces of one tool call."""

    def __init__(self) -> None:
        self.name = ""
        self._text = _Text()
        self._object: JsonObject | None = None
        self._sent: JsonObject | None = {}

    @property
    def is_complete(self) -> bool:
        """Whether the arguments are complete, so that another name begins another call."""
        return self._object is not None or isinstance(parsed(self._text.whole.encode(errors="replace")), dict)

    def add(self, name: str, arguments: object, sent: Mapping[str, Any] | None) -> None:
        """Add a piece; `sent` is the JSON object that it was read from. A name repeated in every piece counts once."""
        if sent is None:
            self._sent = None
        elif self._sent is not None:
            _merge(self._sent, {key: value for key, value in sent.items() if key != "index"})
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

    def as_sent(self) -> JsonObject | None:
        """The call with all fields that the server sent, also unknown ones; None: it sent no object."""
        if self._sent is None:
            return None
        call = self.call()
        function = {**(self._sent.get("function") or {}), "name": call.name, "arguments": call.arguments}
        return {"type": "function", **self._sent, "function": function}


class _Text:
    """A text that arrives in pieces; a piece continues the text, or repeats all of it and then continues.

    Some servers repeat the whole text in each piece, others once in the last. A single short piece is ambiguous: `4`
    and `42` are 42 or 442. It counts as a repetition until a later piece does not repeat the text.

    Args:
        may_repeat: whether pieces may repeat the text so far.
    """

    def __init__(self, may_repeat: bool = True) -> None:
        self._may_repeat = may_repeat
        self._pieces = list[str]()
        self._if_not_repeated = list[str]()  # the pieces, if the first repetition turns out to be none
        self._repeats, self._is_sure = 0, False
        self._size = 0

    @property
    def whole(self) -> str:
        """The text so far; a long text that was sent twice counts once."""
        return _joined(self._pieces[:1] if self._is_twice and self._size >= 2 * _MIN_REPEATED else self._pieces)

    @property
    def is_doubtful(self) -> bool:
        return not self._is_sure and (self._repeats > 0 or (self._is_twice and self._size < 2 * _MIN_REPEATED))

    @property
    def _is_twice(self) -> bool:
        return self._may_repeat and len(self._pieces) == 2 and self._pieces[0] == self._pieces[1]

    def add(self, piece: str, is_whole: bool = False) -> str:
        """Add a piece, and return the new part of it; `is_whole`: it is a message, not a piece of one."""
        before = "".join(self._pieces) if self._may_repeat and 0 < self._size <= len(piece) else ""
        # a second piece equal to the first may be a word said twice: `whole` decides by its length
        may_be_repetition = is_whole or piece != before or len(self._pieces) > 1 or self._repeats > 0
        if before and piece.startswith(before) and may_be_repetition:
            self._repeats += 1
            self._is_sure |= is_whole or len(before) >= _MIN_REPEATED or self._repeats > 1
            self._if_not_repeated = [*self._pieces, piece]
            self._pieces, self._size = [piece], len(piece)
            return piece[len(before) :]
        if self._repeats and not self._is_sure:
            self._pieces, self._repeats = self._if_not_repeated, 0
            self._size = sum(map(len, self._pieces))
        self._pieces.append(piece)
        self._size += len(piece)
        return piece


def _joined(pieces: Iterable[str]) -> str:
    """Join pieces that may be cut within a character: between surrogates, or between bytes (escaped as in PEP 383).

    Raises:
        WireError: the escaped bytes are not UTF-8.
    """
    whole = "".join(pieces)
    if whole.isascii() or not re.search("[\ud800-\udfff]", whole):
        return whole
    whole = _LONE_SURROGATE.sub("\ufffd", whole.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass"))
    try:
        return codecs.getincrementaldecoder("utf-8")().decode(whole.encode(errors="surrogateescape"))
    except UnicodeDecodeError:
        raise WireError("sent something that cannot be read", "text that is not UTF-8") from None


_HARMONY = re.compile(
    r"(?:<\|start\|>(?P<role>(?:(?!<\|start\|>).)*?))?<\|channel\|>(?P<header>(?:(?!<\|channel\|>).)*?)<\|message\|>"
    r"(?P<body>.*?)(?=<\|(?:end|return|call|start|channel)\|>|\Z)",
    re.DOTALL,
)


def _harmony(text: str) -> tuple[str, str, tuple[Called, ...]] | None:
    """Split a text in OpenAI's harmony format into the thought (its channel `analysis`), the answer (`final`) and the
    calls (in `commentary`); None if it is in another format.

    Source: github.com/openai/harmony, docs/format.md. Without its special tokens, which some servers leave out, the
    text is `analysis`, the thought, `assistantfinal` and the answer.
    """
    thought, answer, calls = "", "", list[Called]()
    if "<|channel|>" not in text:
        before, mark, answer = text.rpartition("assistantfinal")
        is_harmony = mark and before.lstrip().startswith("analysis")
        return (before.lstrip().removeprefix("analysis"), answer, ()) if is_harmony else None
    for message in _HARMONY.finditer(text):
        words = f"{message['role'] or ''} {message['header'].replace('<|constrain|>', ' ')}".split()
        recipient = next((word.removeprefix("to=") for word in words if word.startswith("to=")), "")
        if recipient:
            calls.append(Called(recipient.removeprefix("functions."), message["body"].strip()))
        elif "final" in words:
            answer += message["body"]
        else:
            thought += message["body"]
    return thought, answer, tuple(calls)


def _likeliest(logprobs: object) -> Likeliest | None:
    """The texts and log-probabilities of the likeliest first tokens; None if a server sends none.

    Args:
        logprobs: `logprobs` of a choice: OpenAI's {"content": [{"top_logprobs": [{"token", "logprob"}]}]}, the
            {"top_logprobs": [{TOKEN: LOGPROB}]} of its older API, or Ollama's list of {"top_logprobs"}.
    """
    content = logprobs.get("content") or [logprobs] if isinstance(logprobs, Mapping) else logprobs
    first = (objects(content) or [{}])[0].get("top_logprobs")
    tokens = objects(first)
    if tokens and "token" not in tokens[0]:
        tokens = [{"token": token, "logprob": value} for token, value in tokens[0].items()]
    pairs = [(each.get("token"), each.get("logprob")) for each in tokens]
    found = [(text, float(p)) for text, p in pairs if isinstance(text, str) and isinstance(p, int | float) and p <= 0]
    return tuple(found) or None


def _merge(whole: JsonObject, piece: Mapping[str, Any]) -> None:
    """Merge a piece of a JSON object into the object: lists are joined, and other values are replaced."""
    for key, value in piece.items():
        present = whole.get(key)
        if isinstance(present, dict) and isinstance(value, dict):
            _merge(present, value)
        elif isinstance(present, list) and isinstance(value, list):
            whole[key] = present + value
        elif value not in (None, "") or key not in whole:
            whole[key] = value


def _unreadable(value: object) -> WireError:
    return WireError("sent something that cannot be read", str(value)[:2048])


def _listed(value: Any) -> list[Any]:
    """The elements of a list; one object stands for a list of it, as some servers have it."""
    if value and not isinstance(value, list | dict):
        raise _unreadable(value)
    return [value] if isinstance(value, dict) else value or []


def _text_of(sent: Mapping[str, Any], name: str) -> str:
    value = sent.get(name) or ""
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
