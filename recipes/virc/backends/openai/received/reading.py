"""The body of a completion, streamed or whole, as a reply."""

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from virc.backends.openai.errors import StatusError, WireError, error_text, failed, parsed, reported
from virc.backends.openai.received.frames import values
from virc.backends.openai.received.wire import ReceivedReply, ReplyBuilder, is_given

_AROUND = ("data", "result", "output", "response", "body")
_MAX_DEPTH = 3


def read_reply(pieces: Iterable[bytes], most: int, on_text: Callable[[str], None] | None = None) -> ReceivedReply:
    """Read the body of a completion, streamed or whole, with at most `most` characters.

    Raises:
        WireError: it is no completion, an error, too long, or ends before its end.
    """
    builder, odd = ReplyBuilder(most, on_text), dict[str, Any]()
    for number, value in enumerate(values(pieces)):
        if value is None:
            builder.done = True
            break
        chunk, is_event = value
        if not chunk.get("choices"):
            inner = _unwrapped(chunk)
            if inner is None and builder.has_choice and reported(chunk):
                raise failed(chunk)
            odd = odd or (chunk if inner is None else {})
            chunk = inner or chunk
        builder.add(chunk)
        # A message that is all of a body needs no other end; a stream may be cut behind it.
        builder.done = builder.has_message and number == 0 and not is_event
    if not builder.has_choice and odd:
        raise _no_completion(odd)
    return builder.reply()


def _no_completion(said: Mapping[str, Any]) -> WireError:
    if said.get("type") in ("message", "message_start") and not is_given(said.get("error")):
        return StatusError(404, {}, {"type": "error", "error": {}})
    if reported(said) and error_text(said):
        return failed(said)
    quoted = json.dumps(said, ensure_ascii=False)[:2048].encode(errors="replace").decode()
    return WireError("sent something that is no chat completion", quoted)


def _unwrapped(said: object, depth: int = 0) -> dict[str, Any] | None:
    """Return the completion, or the chunk of one, that stands in an answer without choices; None if there is none.

    It stands in a field of another object, such as `data` of many gateways, `output` of DashScope's own API and `body`
    of AWS Lambda, where it is text. Cohere and Ollama send a message without choices, and counts by names of their own.

    Source: the types V2ChatResponse of the package cohere and ChatResponse of the package ollama.
    """
    if isinstance(said, str) and said.lstrip()[:1] == "{":
        said = parsed(said.encode(errors="replace"))
    if not isinstance(said, dict) or depth > _MAX_DEPTH:
        return None
    if said.get("choices"):
        return said
    message = said.get("message")
    if isinstance(message, dict) and {"content", "tool_calls"} & message.keys() and said.get("type") != "message_start":
        field = "delta" if "done" in said else "message"  # message_start is Anthropic's
        finish = said.get("done_reason") or said.get("finish_reason") or ("stop" if said.get("done") else None)
        message["content"] = message.get("content") or message.pop("tool_plan", None)  # which would be sent back twice
        return {"choices": [{field: message, "finish_reason": finish}], "usage": said.get("usage") or said}
    return next((found for key in _AROUND if (found := _unwrapped(said.get(key), depth + 1))), None)
