"""The body of a completion, streamed or whole, as a reply."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any

import msgspec

from virc.backends.openai.body import WireError, error_text, failed, parsed, reported
from virc.backends.openai.received.frames import values
from virc.backends.openai.received.usage import Usage, usage
from virc.backends.openai.received.wire import Chunk, ReceivedReply, ReplyBuilder, is_given

_AROUND = ("data", "result", "output", "response", "body")
_MAX_DEPTH = 3
_ENDS = {"response.completed", "response.incomplete", "response.failed"}


def read_reply(pieces: Iterable[bytes], most: int, on_text: Callable[[str], None] | None = None) -> ReceivedReply:
    """Read the body of a completion, streamed or whole, with at most `most` characters.

    Raises:
        WireError: it is no completion, an error, too long, or ends before its end.
    """
    builder, odd = ReplyBuilder(most, on_text), b""
    for number, value in enumerate(values(pieces, Chunk)):
        if value is None:
            builder.done = True
            break
        chunk = value.read
        if not chunk.choices and not _take_response(value.data, builder):
            with suppress(msgspec.ValidationError):
                chunk = msgspec.convert(_unwrapped(parsed(value.data)), Chunk)
            odd = odd or (b"" if chunk.choices else value.data)
            if not chunk.choices and builder.has_choice and reported(said := parsed(value.data)):
                raise failed(said)
        builder.add(chunk)
        # A message that is all of a body needs no other end; a stream may be cut behind it.
        builder.done = builder.has_message and number == 0 and not value.is_event
    if not builder.has_choice and odd:
        raise _no_completion(odd)
    return builder.reply()


def _no_completion(data: bytes) -> WireError:
    said = parsed(data)
    if isinstance(said, dict) and said.get("type") in ("message", "message_start") and not is_given(said.get("error")):
        return WireError("answers as Anthropic's API does", status=404, body={"type": "error", "error": {}})
    if reported(said) and error_text(said):
        return failed(said)
    return WireError("sent something that is no chat completion", data[:2048].decode(errors="replace"))


def _unwrapped(said: object, depth: int = 0) -> Mapping[str, Any] | None:
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


def _take_response(data: bytes, builder: ReplyBuilder) -> bool:
    """Take a response or an event of one, as JSON; False if it is neither.

    Source: platform.openai.com/docs/api-reference/responses and responses-streaming.

    Raises:
        WireError: it reports an error.
    """
    said = parsed(data)
    if not isinstance(said, dict):
        return False
    kind = str(said.get("type") or "")
    if kind.startswith("response."):
        if kind == "response.output_text.delta" and isinstance(said.get("delta"), str):
            builder.add_finish(None)
            builder.add_content(said["delta"])
        if kind not in _ENDS or not isinstance(said.get("response"), dict):
            return True
        said = said["response"]
    elif said.get("object") != "response" or not isinstance(said.get("output"), list):
        return False
    _take_whole(said, builder)
    return True


def _take_whole(response: Mapping[str, Any], builder: ReplyBuilder) -> None:
    if response.get("status") == "failed" or response.get("error"):
        raise failed(response)
    details = response.get("incomplete_details")
    reason = details.get("reason") if isinstance(details, dict) else None
    builder.add_finish(str(reason or response.get("status") or "stop"))
    counts = usage(response.get("usage"), Usage())
    builder.set_counts(counts.prompt, counts.drawn)
    for item in _objects(response.get("output")):
        if item.get("type") == "function_call":
            builder.add_function(str(item.get("name") or ""), str(item.get("arguments") or ""))
        said = item.get("content") or item.get("summary")
        parts = _objects([{"text": said}] if isinstance(said, str) else said)
        text = "".join(part["text"] for part in parts if isinstance(part.get("text"), str))
        (builder.add_thought if item.get("type") == "reasoning" else builder.add_content)(text, is_whole=True)
        for part in parts:
            builder.add_refusal(part["refusal"] if isinstance(part.get("refusal"), str) else None)


def _objects(value: Any) -> list[dict[str, Any]]:
    """The objects in a list, or in none at all; a WireError for anything else."""
    if value and not isinstance(value, list):
        raise WireError("sent something that cannot be read", str(value)[:2048])
    return [each for each in value or () if isinstance(each, dict)]
