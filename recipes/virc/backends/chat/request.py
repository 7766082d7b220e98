"""A turn as a request for a chat completion, without what the server turned out to refuse, and with a user's fields."""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from virc.backends.chat.causes import LENGTHS, OPTIONAL, SYSTEM, RefusedError
from virc.backends.chat.errors import parsed
from virc.backends.chat.images import AsPart
from virc.backends.chat.providers import TEMPLATE, says, ways_to_think
from virc.backends.interface import Sampling
from virc.core.errors import UsageError
from virc.core.work import forks
from virc.reasoning.lenient import Sent
from virc.reasoning.session import Ask

RESULT = "The image follows."
"""What a tool's own message says if a server calls tools: an image can stand in a user's message only."""
_BETWEEN = "I look at the image."
_PLAIN = frozenset({"role", "content", "tool_calls", "id", "type", "function", "name", "arguments", "text"})
"""Fields that messages with calls have by the API's own definition."""


OWN = "messages."
"""Prefix, among parameters to leave out, of a field of tool calls that the server itself sent, but refuses later."""
AFTER_TOOL = f"{OWN}user after tool"
"""A user's message after the result of a tool, which servers of Mistral's models refuse: one of the assistant has to be
between them."""
EMPTY = f"{OWN}empty content"
"""An empty content of a message that only calls tools: Claude's servers want null."""
_OURS = ("messages", "model", "stream", "stream_options", "n", "tools")


class Habits:
    """What one server refuses of requests, learnt from its refusals. Threads may share it."""

    def __init__(self) -> None:
        self._lock = forks.Lock()
        self._left_out: frozenset[str] = frozenset()

    @property
    def left_out(self) -> frozenset[str]:
        with self._lock:
            return self._left_out

    def leave_out(self, parameters: Iterable[str]) -> None:
        with self._lock:
            self._left_out |= {name for name in parameters if name in OPTIONAL or name.startswith(OWN)}

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
        if own := {name.removeprefix(OWN) for name in left_out if name.startswith(OWN)}:
            fitted["messages"] = [_without(each, own) if "tool_calls" in each else each for each in fitted["messages"]]
        if EMPTY in left_out:
            fitted["messages"] = [each | {"content": None} if _is_empty(each) else each for each in fitted["messages"]]
        if AFTER_TOOL in left_out:
            fitted["messages"] = list(_bridged(fitted["messages"]))
        if "stream" not in fitted:
            fitted.pop("stream_options", None)
        return fitted

    def learn(self, sent: Mapping[str, Any], refused: RefusedError) -> bool:
        """Take a server's refusal of a request into account; whether there is anything to leave out that was sent."""
        wrong = {name for name in refused.parameters() if name in sent or (name == SYSTEM and _has_system(sent))}
        messages = sent.get("messages", ())
        if not wrong and says("order of messages", refused.said) and len([*_bridged(messages)]) > len(messages):
            wrong = {AFTER_TOOL}
        if not wrong and says("empty content", refused.said) and any(map(_is_empty, messages)):
            wrong = {EMPTY}
        if not wrong:
            own = {name for each in messages if "tool_calls" in each for name in _names(each)} - _PLAIN
            wrong = {OWN + name for name in refused.own_fields(own)}
        if not wrong:
            return False
        with self._lock:
            self._left_out |= wrong
            if LENGTHS[1] in wrong and LENGTHS[0] in self._left_out:
                # The server that refused the other name may be gone: that name is tried again, once.
                self._left_out -= {LENGTHS[0]}
        return True


def _is_empty(message: Mapping[str, Any]) -> bool:
    return "tool_calls" in message and message.get("content") in ("", [])


def _has_system(sent: Mapping[str, Any]) -> bool:
    roles = [message["role"] for message in sent.get("messages", ())[:2]]
    return roles == ["system", "user"]


def _without_system(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    if not _has_system({"messages": messages}):
        return messages
    system, user, *rest = messages
    content = user["content"]
    if isinstance(content, str):
        content = [{"type": "text", "text": content}]
    return [{**user, "content": [{"type": "text", "text": system["content"]}, *content]}, *rest]


def _bridged(messages: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The messages with one of the assistant between the result of a tool and what the user says."""
    before = None
    for message in messages:
        if (before, message["role"]) == ("tool", "user"):
            yield {"role": "assistant", "content": _BETWEEN}
        yield message
        before = message["role"]


def _names(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        yield from value
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _names(each)


def _without(value: Any, names: Collection[str]) -> Any:
    if isinstance(value, dict):
        return {key: _without(each, names) for key, each in value.items() if key not in names}
    return [_without(each, names) for each in value] if isinstance(value, list) else value


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


def _calling(position: int, called: Sent) -> Iterator[dict[str, Any]]:
    """A turn that calls tools, with the server's own fields if it sent any, and a message with the result of each call.

    An id of ours has nine letters and digits, as Mistral's API wants it.
    """
    own = called.message or {}
    before = own.get("tool_calls", ())[: len(called.calls)] or [{}] * len(called.calls)
    calls = []
    for number, (call, each) in enumerate(zip(called.calls, before, strict=True)):
        function = {"name": call.name, **each.get("function", {})}
        if not isinstance(parsed(str(function.get("arguments")).encode()), dict):  # it was mended
            function["arguments"] = json.dumps(call.arguments)
        id = each.get("id") or f"c{position:05d}{number:03d}"
        calls.append({**each, "id": id, "type": "function", "function": function})
    yield {"role": "assistant", "content": called.before, **own, "tool_calls": calls}
    for made, result in zip(calls, called.results, strict=True):
        yield {"role": "tool", "tool_call_id": made["id"], "content": result or RESULT}


def offered(tools: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The schemas without `additionalProperties: false`, on which hosts fail unless they are strict."""
    return [{**tool} if tool["function"].get("strict") else _opened(tool) for tool in tools]


def _opened(schema: Any) -> Any:
    if isinstance(schema, Mapping):
        closed = {"additionalProperties"} if schema.get("additionalProperties") is False else ()
        return {name: _opened(each) for name, each in schema.items() if name not in closed}
    return [*map(_opened, schema)] if isinstance(schema, list | tuple) else schema


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
    if sampling.temperature > 0 and sampling.top_p < 1 and not sampling.is_usual:  # some servers refuse it
        request["top_p"] = sampling.top_p
    if ask.continues:  # vLLM and SGLang: the reply belongs to the turn that has begun
        request |= {"continue_final_message": True, "add_generation_prompt": False}
    if ask.schemas:
        request["tools"] = offered(ask.schemas)
    if ask.json_schema is not None:
        schema = {"name": "answer", "schema": ask.json_schema}
        request["response_format"] = {"type": "json_schema", "json_schema": schema}
    if sampling.seed is not None:
        request["seed"] = sampling.seed
    if sampling.likeliest:
        request |= {"logprobs": True, "top_logprobs": sampling.likeliest}
    return request


def fields_of(text: str | None) -> dict[str, Any]:
    """Return the fields in a text of JSON. Raises UsageError: it is no object, or sets what virc itself sets."""
    try:
        fields = json.loads(text or "{}")
    except (ValueError, RecursionError):
        fields = None
    example = """«--extra-body '{"chat_template_kwargs": {"enable_thinking": false}}'»"""
    if not isinstance(fields, dict):
        raise UsageError(f"«--extra-body» must be a JSON object, not {text!r:.80}", example)
    if ours := [name for name in _OURS if name in fields]:
        raise UsageError(f"«--extra-body» must not set {', '.join(ours)}, which virc sets", example)
    return fields


def fields_to_think(switch: str | None, endpoint: str, kind: str) -> dict[str, Any]:
    """Return the fields by which a server is told to think (`on`) or not (`off`); None: it decides."""
    return {} if switch is None else ways_to_think(endpoint, kind)[0 if switch == "on" else 1]


def check_thinking(switch: str | None, fields: Mapping[str, Any], endpoint: str, kind: str) -> None:
    """Raise UsageError where a user's `fields` contradict the switch: they do the opposite by the server's own way."""
    if switch is None:
        return
    off = values_of(ways_to_think(endpoint, kind)[1] or TEMPLATE[1])
    given = values_of(fields)
    for path, value in off.items():
        # Null takes the field out; of values that are not those of `off` a server may have many, as of an effort.
        if given.get(path) is not None and (given[path] == value) != (switch == "off"):
            sentence = f"«--thinking {switch}» contradicts {'.'.join(path)}={json.dumps(given[path])} in «--extra-body»"
            raise UsageError(sentence, "leave out one of the two")


def values_of(fields: Mapping[str, Any], place: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    """Return the values of nested objects by the names on the way to each."""
    values: dict[tuple[str, ...], Any] = {}
    for name, value in fields.items():
        path = (*place, name)
        values |= values_of(value, path) if isinstance(value, Mapping) else {path: value}
    return values


def merged(request: Mapping[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    """Return a request with further fields; those of objects are merged, and null takes a field out."""
    whole = dict(request)
    for name, value in extra.items():
        before = whole.get(name)
        if value is None:
            whole.pop(name, None)
        else:
            is_nested = isinstance(value, Mapping) and isinstance(before, Mapping)
            whole[name] = merged(before, value) if is_nested else value  # type: ignore[arg-type]
    return whole
