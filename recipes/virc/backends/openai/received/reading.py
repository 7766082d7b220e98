"""The body of a completion, streamed or whole, as a reply."""

import json
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from virc.backends.openai.errors import StatusError, WireError, error_text, failed, parsed, reported
from virc.backends.openai.received.frames import values
from virc.backends.openai.received.wire import ReceivedReply, ReplyBuilder, is_given

_AROUND = ("data", "result", "output", "response", "body")
_MAX_DEPTH = 3
_SILENT_SECONDS = 5.0
"""Longest wait for each piece after the finish reason; the client library of OpenAI waits as long as for a reply."""
_ENDS = {"response.completed", "response.incomplete", "response.failed"}


def read_reply(
    pieces: Iterable[bytes],
    most: int,
    on_text: Callable[[str], None] | None = None,
    hang_up: Callable[[], None] | None = None,
) -> ReceivedReply:
    """Read the body of a completion, streamed or whole, with at most `most` characters.

    Args:
        hang_up: ends the connection from another thread: a server may keep it open after the end of its reply.

    Raises:
        WireError: it is no completion, an error, too long, or ends before its end.
    """
    builder, odd = ReplyBuilder(most, on_text), dict[str, Any]()
    ended = _up_to_silence(pieces, lambda: builder.is_finished, hang_up) if hang_up else pieces
    for number, value in enumerate(values(ended)):
        if value is None:
            builder.done = True
            break
        chunk, is_event = value
        if not chunk.get("choices"):
            inner = _of_response(chunk) or _unwrapped(chunk)
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


def _of_response(said: Mapping[str, Any]) -> dict[str, Any] | None:
    """A response of the Responses API, or an event of one, as a chunk of a completion; None for anything else.

    Source: platform.openai.com/docs/api-reference/responses and responses-streaming.

    Raises:
        WireError: it reports an error.
    """
    kind = str(said.get("type"))
    if kind.startswith("response.") and kind not in _ENDS:
        text = said.get("delta") if kind == "response.output_text.delta" else None
        return {"choices": [{"delta": {"content": text}}]}
    response = said.get("response") if kind in _ENDS else said
    if not isinstance(response, dict) or response.get("object") != "response":
        return None
    if response.get("status") == "failed" or response.get("error"):
        raise failed(response)
    message: dict[str, Any] = {"content": "", "reasoning_content": ""}
    for item in _objects(response.get("output")):
        if item.get("type") == "function_call":
            call = {"type": "function", "function": {key: item.get(key) for key in ("name", "arguments")}}
            message.setdefault("tool_calls", []).append(call)
        told = item.get("content") or item.get("summary")
        parts = _objects([{"text": told}] if isinstance(told, str) else told)
        field = "reasoning_content" if item.get("type") == "reasoning" else "content"
        message[field] += "".join(str(part.get("text") or "") for part in parts)
        message["refusal"] = next((part["refusal"] for part in parts if part.get("refusal")), message.get("refusal"))
    details = response.get("incomplete_details")
    reason = details.get("reason") if isinstance(details, dict) else None
    finish = reason or response.get("status")
    return {"choices": [{"message": message, "finish_reason": finish}], "usage": response.get("usage")}


def _objects(value: object) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
