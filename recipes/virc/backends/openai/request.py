"""A turn as a request for a chat completion, and what of it a server turned out to refuse."""

import json
import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from virc.backends.interface import Sampling
from virc.backends.openai.images import AsPart
from virc.backends.openai.refusals import LENGTHS, OPTIONAL, SYSTEM, RefusedError, parameters
from virc.reasoning.session import Ask, Called

RESULT = "The image follows."
"""What a tool's own message says where a server calls tools: an image can stand in a user's message only."""


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
            self._left_out |= {name for name in parameters if name in OPTIONAL}

    def forget(self) -> None:
        """Another server may have come in its place."""
        with self._lock:
            self._left_out = frozenset()

    def fitted(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """A request without what the server refuses; a limit of tokens by the name that it takes."""
        left_out = self.left_out
        fitted = {key: value for key, value in request.items() if key not in left_out}
        if LENGTHS[0] in left_out and LENGTHS[1] not in left_out and LENGTHS[0] in request:
            fitted[LENGTHS[1]] = request[LENGTHS[0]]
        if SYSTEM in left_out:
            fitted["messages"] = _without_system(request["messages"])
        if "stream" not in fitted:
            fitted.pop("stream_options", None)
        return fitted

    def learn(self, sent: Mapping[str, Any], refused: RefusedError) -> bool:
        """Take a server's refusal of a request into account; whether there is anything to leave out that was sent."""
        wrong = {name for name in parameters(refused) if name in sent or (name == SYSTEM and _has_system(sent))}
        if not wrong:
            return False
        with self._lock:
            self._left_out |= wrong
            if wrong & {LENGTHS[1]} and LENGTHS[0] in self._left_out:
                # The server that refused the other name may be gone: that one is tried again, once.
                self._left_out -= {LENGTHS[0]}
        return True


def _has_system(sent: Mapping[str, Any]) -> bool:
    """Whether a request begins with a system message that the next one can take in."""
    roles = [message["role"] for message in sent.get("messages", ())[:2]]
    return roles == ["system", "user"]


def _without_system(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The messages with the system message at the head of the user's."""
    if not _has_system({"messages": messages}):
        return messages
    system, user, *rest = messages
    content = user["content"]
    if isinstance(content, str):
        content = [{"type": "text", "text": content}]
    return [{**user, "content": [{"type": "text", "text": system["content"]}, *content]}, *rest]


def messages(ask: Ask, as_part: AsPart) -> Iterator[dict[str, Any]]:
    """The conversation as the API has it; calls of a server that makes them itself as such, each with its result."""
    for position, turn in enumerate(ask.turns()):
        if turn.called:
            yield from _calling(position, turn.called)
            continue
        content: object = turn.text
        if turn.images:
            content = [
                {"type": "text", "text": part} if isinstance(part, str) else as_part(ask.images[part])
                for part in turn.parts
            ]
        yield {"role": turn.role, "content": content}


def _calling(position: int, called: Called) -> Iterator[dict[str, Any]]:
    """A turn that calls tools, and what each of them said."""
    ids = [f"call_{position:06d}{number:02d}" for number in range(len(called.calls))]
    calls = [
        {"id": id, "type": "function", "function": {"name": each.name, "arguments": json.dumps(each.arguments)}}
        for id, each in zip(ids, called.calls, strict=True)
    ]
    yield {"role": "assistant", "content": called.text, "tool_calls": calls}
    for id, result in zip(ids, called.results, strict=True):
        yield {"role": "tool", "tool_call_id": id, "content": result or RESULT}


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
    if ask.continues:  # vLLM and SGLang: the reply belongs to the turn that has begun
        request |= {"continue_final_message": True, "add_generation_prompt": False}
    if ask.schemas:
        request["tools"] = list(ask.schemas)
    if ask.json_schema is not None:
        schema = {"name": "answer", "schema": ask.json_schema}
        request["response_format"] = {"type": "json_schema", "json_schema": schema}
    if sampling.seed is not None:
        request["seed"] = sampling.seed
    if sampling.likeliest:
        request |= {"logprobs": True, "top_logprobs": sampling.likeliest}
    return request
