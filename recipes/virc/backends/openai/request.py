"""A turn as a request for a chat completion, and what of it a server turned out to refuse."""

import json
import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from virc.backends.interface import Sampling
from virc.backends.openai.images import AsPart
from virc.core.errors import ConfigError
from virc.reasoning.session import Ask, Message

RESULT = "The image follows."
"""What a tool's own message says where a server calls tools: an image can stand in a user's message only."""

_LENGTHS = ("max_tokens", "max_completion_tokens")
_OPTIONAL = (
    "top_k", "seed", "stream_interval", "stream_options", "repetition_penalty", "include_stop_str_in_output",
    "no_stop_trim", "stop", "temperature", "top_p", "stream", *_LENGTHS,
)  # fmt: skip
"""What a request can do without: the model then draws by the server's own defaults."""
_REFUSES = re.compile(
    r"unsupported|not supported|n.t support|unrecogni[sz]ed|unknown|unexpected|not (permitted|allowed|valid)|forbidden"
    r"|invalid (param|arg|field)|cannot find field|extra inputs|use '?max_completion_tokens|must be verified",
    re.IGNORECASE,
)
_CONTEXT = re.compile(r"context (?:length|window|size)|maximum length|input tokens", re.IGNORECASE)
_CONTEXT_IS = re.compile(r"context (?:length|window|size)\D{0,30}?(\d{3,8})", re.IGNORECASE)
_PROMPT_IS = re.compile(
    r"(\d{1,8}) (?:in the messages|input tokens|prompt tokens|tokens (?:in|from))"
    r"|prompt (?:contains|has)\D{0,20}(\d{1,8})",
    re.IGNORECASE,
)
_AT_MOST = re.compile(
    r"(?:at most|between 1 and|max_tokens\b.{0,60}\[1, ?|less than or equal to|expected a value <=) ?(\d{2,7})\b",
    re.IGNORECASE,
)
_LEAST_ROOM = 128
_WORDS = frozenset({"stream", "stop", "seed", "temperature"})


class RefusedError(ConfigError):
    """The endpoint refuses a request for what stands in it.

    Args:
        message, hint: as of any error.
        said: the server's sentence.
        parameter: which one it names as the cause, if any.
    """

    def __init__(self, message: str, hint: str | None, said: str, parameter: str | None) -> None:
        super().__init__(message, hint)
        self.said, self.parameter = said, parameter


class Habits:
    """What one server refuses of requests, learnt from its refusals. Threads may share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._left_out: frozenset[str] = frozenset()

    @property
    def left_out(self) -> frozenset[str]:
        """The parameters that it refuses."""
        with self._lock:
            return self._left_out

    def leave_out(self, parameters: Iterable[str]) -> None:
        """Take it that the server refuses these, as it did in an earlier process."""
        with self._lock:
            self._left_out |= {name for name in parameters if name in _OPTIONAL}

    def forget(self) -> None:
        """Another server may have come in its place."""
        with self._lock:
            self._left_out = frozenset()

    def fitted(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """A request without what the server refuses; a limit of tokens by the name that it takes."""
        left_out = self.left_out
        fitted = {key: value for key, value in request.items() if key not in left_out}
        if _LENGTHS[0] in left_out and _LENGTHS[1] not in left_out and _LENGTHS[0] in request:
            fitted[_LENGTHS[1]] = request[_LENGTHS[0]]
        if "stream" not in fitted:
            fitted.pop("stream_options", None)
        return fitted

    def learn(self, sent: Mapping[str, Any], refused: RefusedError) -> bool:
        """Take a refusal into account; whether there is anything to leave out that was sent.

        Args:
            sent: the request as it went out.
            refused: the server's answer to it.
        """
        wrong = {name for name in _named(refused) if name in sent}
        if not wrong:
            return False
        with self._lock:
            self._left_out |= wrong
            if wrong & {_LENGTHS[1]} and _LENGTHS[0] in self._left_out:
                # The server that refused the other name may be gone: that one is tried again, once.
                self._left_out -= {_LENGTHS[0]}
        return True


def shortened(max_tokens: int, refused: RefusedError) -> int | None:
    """The limit of tokens that a server would have taken, where it refused one as more than it has room for.

    None: it does not say so, or there is hardly any room.
    """
    context, prompt = _CONTEXT_IS.search(refused.said), _PROMPT_IS.search(refused.said)
    most = _AT_MOST.search(refused.said)
    room = 0
    if context and prompt:
        room = int(context[1]) - int(prompt[1] or prompt[2])
    elif most:
        room = int(most[1])
    return room if _LEAST_ROOM <= room < max_tokens else None


def _named(refused: RefusedError) -> Iterator[str]:
    """The parameters that a refusal means."""
    if refused.parameter in _OPTIONAL:
        yield refused.parameter
        return
    if _CONTEXT.search(refused.said) or not _REFUSES.search(refused.said):
        return
    places = [(re.search(_mentioned(name), refused.said), name) for name in _OPTIONAL]
    found = [(place.start(), name) for place, name in places if place]
    # "'max_tokens' is not supported: use 'max_completion_tokens' instead" names what it wants as well.
    instead = re.search(r"\b(?:use|try)\b", refused.said, re.IGNORECASE)
    for at, name in sorted(found):
        if not instead or at < instead.start() or len(found) == 1:
            yield name


def _mentioned(name: str) -> str:
    """An expression that finds a parameter in a sentence; one whose name is a usual word only where it is marked."""
    if name not in _WORDS:
        return rf"\b{name}\b"
    marked = rf"['\"`]{name}['\"`]"
    listed = (
        r"(?i:parameter|argument|field|property|name|supplied)s?:? +(?:[\w'\"`\\]+(?:, *(?:and )?| and +))*"
    )
    return rf"{marked}|{listed}['\"`\\]*{name}\b"


def messages(ask: Ask, as_part: AsPart) -> Iterator[dict[str, Any]]:
    """The conversation as the API has it; calls of a server that makes them itself as such, each with its result."""
    for position, message in enumerate(ask.messages):
        said = ask.called.get(position)
        if said is None:
            yield _message(message, ask, as_part)
            continue
        text, call = said
        id = f"call_{position:08d}"
        function = {"name": call.name, "arguments": json.dumps(call.arguments)}
        yield {
            "role": "assistant",
            "content": text,
            "tool_calls": [{"id": id, "type": "function", "function": function}],
        }
        yield {"role": "tool", "tool_call_id": id, "content": RESULT}


def completion(ask: Ask, sampling: Sampling, model: str, as_part: AsPart) -> dict[str, Any]:
    """The request that every server takes, or says which part of it not."""
    request: dict[str, Any] = {
        "model": model,
        "messages": list(messages(ask, as_part)),
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": sampling.temperature,
        "max_tokens": sampling.max_tokens,
    }
    if sampling.temperature > 0:  # else it changes nothing, and some servers refuse it
        request["top_p"] = sampling.top_p
    if ask.schemas:
        request["tools"] = list(ask.schemas)
    if sampling.seed is not None:
        request["seed"] = sampling.seed
    return request


def _message(message: Message, ask: Ask, as_part: AsPart) -> dict[str, Any]:
    """A chat message as the API has it, images before text."""
    if not message.images:
        return {"role": message.role, "content": message.text}
    images = [as_part(ask.images[index]) for index in message.images]
    return {"role": message.role, "content": [*images, {"type": "text", "text": message.text}]}
