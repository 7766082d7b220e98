"""The chunks of a completion in the body of a server's answer, in the form of OpenAI's API.

`json_values` finds the JSON objects of a body, whatever its content type says: in server-sent events (WHATWG HTML
standard, 9.2; some servers leave out the blank line between two), in one JSON text over one or several lines, one to a
line, or in a list. `as_chunk` puts what other APIs send into the form of OpenAI's.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from virc.backends.chat.errors import WireError, failed, parsed, unreadable

JsonObject = dict[str, Any]
_MAX_WRAPS = 3  # objects around a completion
_MARKS = b"\xef\xbb\xbf\x1e\r"  # byte order mark; begin of a JSON text by RFC 7464; line end with CR LF
_FIELDS = frozenset({b"data", b"event", b"id", b"retry", b""})  # of server-sent events; the last is a comment
_DATA = re.compile(rb"\A(?:data:\s*)+")  # gateways that frame what is framed already repeat the name of the field
_NOTHING = frozenset({b"", b"null", b'""', b"[]"})  # data of events that keep a connection alive


def json_values(pieces: Iterable[bytes]) -> Iterator[tuple[JsonObject, bool] | None]:
    """Yield the objects of a body, and whether each came as an event; None if the stream says that it is done.

    Raises:
        WireError: something else stands there, an event reports an error, or the body ends within an event.
    """
    event, text, is_first = _Event(), list[bytes](), True  # `text`: lines of JSON that is no event and goes on
    for line in _lines(pieces):
        field, _, value = line.partition(b":")
        value, begins, found = _DATA.sub(b"", value.strip(), 1), line.lstrip()[:1], None
        is_json = text or begins == b"{" or (is_first and begins and field not in _FIELDS)
        if field == b"data" and value.strip(b'"').upper() == b"[DONE]" and not is_json:
            yield None
            return
        if not line:
            found = event.end()
        elif not is_json:
            found = event.add(field, value)
        elif text or (found := _object(line)) is None:
            text.append(line)
        is_first = is_first and not begins
        if found is not None:
            yield found, not is_json
    if (found := event.end(is_whole=False)) is not None:
        yield found, True
    if text or is_first:
        yield from ((each, False) for each in _list_of_objects(b"\n".join(text)))


class _Event:
    """A server-sent event as it is read, line by line."""

    def __init__(self) -> None:
        self._name, self._data = b"", list[bytes]()

    def add(self, field: bytes, value: bytes) -> JsonObject | None:
        """Add a line; return its object, if it is one by itself. Raises WireError: it is an error."""
        if field == b"error":  # llama.cpp, older
            raise failed(parsed(value))
        if field == b"event":
            self._name = value
        if field != b"data" or value in _NOTHING:
            return None
        found = None if self._data or self._name == b"error" else _object(value)
        if found is None:
            self._data.append(value)
        return found

    def end(self, is_whole: bool = True) -> JsonObject | None:
        """Return the object of the event that ends here; `is_whole`: by a blank line. Raises WireError: it has none."""
        name, data = self._name, b"\n".join(self._data)
        self._name, self._data = b"", []
        if not data and not (name == b"error" and is_whole):
            return None
        found = parsed(data)
        if name == b"error":
            raise failed(found)
        if isinstance(found, dict):
            return found
        raise unreadable(data) if is_whole else WireError("stopped before its answer was whole", broken=True)


def _lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the lines of a body; what follows the last line end is a line too."""
    rest = list[bytes]()
    for piece in pieces:
        *ended, last = piece.split(b"\n")
        for line in ended:
            yield b"".join((*rest, line)).strip(_MARKS)
            rest.clear()
        rest.append(last)
    yield b"".join(rest).strip(_MARKS)


def _object(data: bytes) -> JsonObject | None:
    found = parsed(data)
    return found if isinstance(found, dict) else None


def _list_of_objects(data: bytes) -> list[JsonObject]:
    found = parsed(data)
    if isinstance(found, str) and data.lstrip()[:1] == b'"':  # JSON within JSON
        found = parsed(found.encode(errors="replace"))
    objects = found if isinstance(found, list) else [found]
    if not objects or not all(isinstance(each, dict) for each in objects):
        raise unreadable(data)
    return objects


# What other APIs send, as chunks of OpenAI's.

_AROUND = ("data", "result", "output", "response", "body")
"""Fields with a completion in them: `data` of many gateways, `output` of DashScope's own API, `body` of AWS Lambda."""
_RESPONSE_ENDS = frozenset({"response.completed", "response.incomplete", "response.failed"})


def as_chunk(sent: object, depth: int = 0) -> JsonObject | None:
    """The completion, or the chunk of one, that stands in an answer without choices; None if there is none.

    Cohere and Ollama send a message without choices, and counts by names of their own.

    Source: the types V2ChatResponse of the package cohere and ChatResponse of the package ollama.

    Raises:
        WireError: a response of the Responses API reports an error.
    """
    if isinstance(sent, str) and sent.lstrip()[:1] == "{":
        sent = parsed(sent.encode(errors="replace"))
    if not isinstance(sent, dict) or depth > _MAX_WRAPS:
        return None
    if sent.get("choices"):
        return sent
    if chunk := _of_response(sent):
        return chunk
    message, is_ollama = sent.get("message"), "done" in sent
    is_message = isinstance(message, dict) and {"content", "tool_calls"} & message.keys()
    if is_ollama or (is_message and sent.get("type") != "message_start"):  # which is Anthropic's
        finish = sent.get("done_reason") or sent.get("finish_reason") or ("stop" if sent.get("done") else None)
        if isinstance(message, dict) and "tool_plan" in message:  # which would be sent back twice
            message["content"] = message.get("content") or message.pop("tool_plan")
        choice = {"delta" if is_ollama else "message": message, "finish_reason": finish}
        choice["logprobs"] = sent.get("logprobs")
        return {"choices": [choice], "usage": sent.get("usage") or sent, "error": sent.get("error")}
    return next((found for key in _AROUND if (found := as_chunk(sent.get(key), depth + 1))), None)


def _of_response(sent: Mapping[str, Any]) -> JsonObject | None:
    """A response of the Responses API, or an event of one, as a chunk; None for anything else.

    Source: platform.openai.com/docs/api-reference/responses and responses-streaming.
    """
    kind = str(sent.get("type"))
    if kind.startswith("response.") and kind not in _RESPONSE_ENDS:
        text = sent.get("delta") if kind == "response.output_text.delta" else None
        return {"choices": [{"delta": {"content": text}}]}
    response = sent.get("response") if kind in _RESPONSE_ENDS else sent
    if not isinstance(response, dict) or response.get("object") != "response":
        return None
    if response.get("status") == "failed" or response.get("error"):
        raise failed(response)
    message: JsonObject = {"content": "", "reasoning_content": ""}
    for item in objects(response.get("output")):
        if item.get("type") == "function_call":
            call = {"type": "function", "function": {key: item.get(key) for key in ("name", "arguments")}}
            message.setdefault("tool_calls", []).append(call)
        content = item.get("content") or item.get("summary")
        parts = objects([{"text": content}] if isinstance(content, str) else content)
        field = "reasoning_content" if item.get("type") == "reasoning" else "content"
        message[field] += "".join(str(part.get("text") or "") for part in parts)
        message["refusal"] = next((part["refusal"] for part in parts if part.get("refusal")), message.get("refusal"))
    details = response.get("incomplete_details")
    reason = details.get("reason") if isinstance(details, dict) else None
    finish = reason or response.get("status")
    return {"choices": [{"message": message, "finish_reason": finish}], "usage": response.get("usage")}


def objects(value: object) -> list[JsonObject]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
