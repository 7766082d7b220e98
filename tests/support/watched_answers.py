"""Looks at every answer of a server of ours in a test: it is as the API types it, and agrees with its request."""

import base64
import io
import json
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response
from PIL import Image

_EDGE = 1568  # the longest side of a picture in an answer
Message = MutableMapping[str, Any]
Receive, Send = Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]


class Watched:
    """An ASGI app whose answers are looked at; `faults` has what is wrong with them."""

    def __init__(self, app: Any, model: str | None = None) -> None:
        self._app, self._model = app, model
        self.faults: list[str] = []
        self.seen = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._app, name)

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        asked, answered, started, ended, left = bytearray(), bytearray(), dict[str, Any](), False, False

        async def receiving() -> Message:
            nonlocal left
            message = await receive()
            left = left or message["type"] == "http.disconnect"
            asked.extend(message.get("body", b"")[: 2**20])
            return message

        async def sending(message: Message) -> None:
            nonlocal ended
            await send(message)
            started.update(message if message["type"] == "http.response.start" else {})
            answered.extend(message.get("body", b"")[: 2**22])
            ended = message["type"] == "http.response.body" and not message.get("more_body") and not left

        await self._app(scope, receiving, sending)
        if not ended or len(asked) > 2**20 or len(answered) > 2**22 or scope["type"] != "http":
            return
        self.seen += 1
        headers = {name.decode().lower(): value.decode() for name, value in started["headers"]}
        try:
            self._look(scope["path"], bytes(asked), started["status"], headers, bytes(answered))
        except Exception as error:
            self.faults.append(f"{scope['path']} {started['status']} {bytes(answered[:300])!r}: {error!r}")

    def _look(self, path: str, asked: bytes, status: int, headers: Mapping[str, str], answered: bytes) -> None:
        if status >= 400:
            if status != 499:
                _error(status, headers, json.loads(answered))
            return
        if path == "/v1/models":
            (only,) = json.loads(answered)["data"]
            assert only["object"] == "model"
        if path not in ("/v1/chat/completions", "/v1/responses"):
            return
        request = json.loads(asked)
        streamed = bool(request.get("stream"))
        kind = "text/event-stream" if streamed else "application/json"
        assert headers["content-type"].partition(";")[0] == kind
        if not streamed:
            assert int(headers["content-length"]) == len(answered)
        if path == "/v1/responses":
            found = _response(answered) if streamed else json.loads(answered)
            if found:
                self._whole_response(found)
        else:
            found = _completion(answered, request) if streamed else json.loads(answered)
            if found:
                self._whole_completion(found, request)

    def _named(self, found: Mapping[str, Any], when: str) -> None:
        assert self._model in (None, found["model"]), found["model"]
        assert abs(time.time() - found[when]) < 300

    def _whole_response(self, found: Mapping[str, Any]) -> None:
        Response.model_validate(found)
        self._named(found, "created_at")
        assert found["status"] == ("incomplete" if found["incomplete_details"] else "completed")
        usage = found["usage"]
        assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
        kinds = [item["type"] for item in found["output"]]
        assert kinds[-1] in ("message", "function_call")
        assert kinds[:-1] in ([], ["reasoning"])
        assert {item.get("status", "completed") for item in found["output"]} == {"completed"}
        _looks(found["output"][-1]["virc_tool_calls"])

    def _whole_completion(self, found: Mapping[str, Any], request: Mapping[str, Any]) -> None:
        ChatCompletion.model_validate(found)
        self._named(found, "created")
        assert found["id"].startswith("chatcmpl-")
        usage = found["usage"]
        assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
        assert [each["index"] for each in found["choices"]] == [*range(request.get("n") or 1)]
        for choice in found["choices"]:
            message, stops = choice["message"], request.get("stop") or []
            assert message["role"] == "assistant"
            assert choice["finish_reason"] in ("stop", "length", "tool_calls")
            assert bool(message.get("tool_calls")) == (choice["finish_reason"] == "tool_calls")
            assert (message["content"] is None) == (choice["finish_reason"] == "tool_calls")
            content = message["content"] or ""
            if "refusal" not in message:
                assert not any(stop in content for stop in ([stops] if isinstance(stops, str) else stops))
            form = (request.get("response_format") or {}).get("type", "text")
            if form != "text" and choice["finish_reason"] == "stop" and "refusal" not in message and not stops:
                json.loads(content)
            _looks(message.get("virc_tool_calls", ()))


def _error(status: int, headers: Mapping[str, str], found: Mapping[str, Any]) -> None:
    (name,), error = found, found["error"]
    assert name == "error"
    assert error.keys() == {"message", "type", "param", "code"}
    assert error["type"] == ("server_error" if status >= 500 else "invalid_request_error")
    assert isinstance(error["message"], str)
    assert error["message"]
    if "ask again" in error["message"]:
        assert int(headers["retry-after"]) > 0
    if error["code"] == "invalid_api_key":
        assert status == 401
    if error["code"] == "model_not_found":
        assert (status, error["param"]) == (404, "model")


def _looks(calls: Any) -> None:
    """Tool calls of one sample: their pictures can be opened, their boxes are inside of their sources."""
    assert [call["index"] for call in calls] == [*range(len(calls))]
    assert [call["unit"] for call in calls] == sorted(call["unit"] for call in calls)
    for call in calls:
        assert (call["url"] is None) == (call["size"] is None) == (call["image"] is None)
        if call["url"]:
            kind, _, content = call["url"].partition(",")
            assert kind == "data:image/jpeg;base64"
            size = Image.open(io.BytesIO(base64.b64decode(content))).size
            assert size == (tuple(call["size"]) if max(call["size"]) <= _EDGE else size)
            assert max(size) == min(_EDGE, max(call["size"]))
        if call["box"] and call["source_size"]:
            left, top, right, bottom = call["box"]
            width, height = call["source_size"]
            assert 0 <= left < right <= width
            assert 0 <= top < bottom <= height


def _events(answered: bytes) -> list[tuple[str, str]]:
    """The kinds and contents of the events of a stream, without what only keeps it alive."""
    assert answered.endswith(b"\n\n")
    found = []
    for block in answered.decode()[:-2].split("\n\n"):
        if block.startswith(":"):
            continue
        kind, _, data = block.rpartition("data: ")
        assert kind in ("", "\n") or kind.startswith("event: "), block
        found.append((kind.removeprefix("event: ").strip(), data))
    return found


def _completion(answered: bytes, request: Mapping[str, Any]) -> dict[str, Any] | None:
    """The completion that the chunks of a stream make, or None if it ends with an error."""
    contents = [data for _, data in _events(answered)]
    if contents[-1] != "[DONE]":
        assert json.loads(contents[-1])["error"]["message"]
        return None
    chunks = [json.loads(each) for each in contents[:-1]]
    for chunk in chunks:
        ChatCompletionChunk.model_validate(chunk)
        assert (chunk["id"], chunk["created"], chunk["model"]) == tuple(
            chunks[0][name] for name in ("id", "created", "model")
        )
    counted = (request.get("stream_options") or {}).get("include_usage")
    last = [chunk for chunk in chunks if "usage" in chunk and chunk["usage"] is not None]
    assert len(last) == bool(counted)
    usage = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    if counted:
        assert last == chunks[-1:]
        assert chunks.pop()["choices"] == []
        usage = last[0]["usage"]
    choices = list[dict[str, Any]]()
    for chunk in chunks:
        (choice,) = chunk["choices"]
        if choice["index"] == len(choices):
            assert choice["delta"]["role"] == "assistant"
            made = {"role": "assistant", "content": "", "reasoning_content": "", "virc_tool_calls": []}
            choices.append({"index": len(choices), "message": made, "finish_reason": None})
        assert choice["index"] == len(choices) - 1
        assert choices[-1]["finish_reason"] is None, "it goes on after its end"
        message, delta = choices[-1]["message"], choice["delta"]
        message["reasoning_content"] += delta.get("reasoning_content") or ""
        message["virc_tool_calls"] += delta.get("virc_tool_calls") or ()
        message["content"] += delta.get("content") or ""
        message |= {name: delta[name] for name in ("tool_calls", "refusal") if name in delta}
        choices[-1]["finish_reason"] = choice["finish_reason"]
    for choice in choices:
        if choice["message"].get("tool_calls"):
            choice["message"]["content"] = choice["message"]["content"] or None
    return {**{name: chunks[0][name] for name in ("id", "created", "model")}, "object": "chat.completion",
            "choices": choices, "usage": usage}  # fmt: skip


def _response(answered: bytes) -> dict[str, Any] | None:
    """The response at the end of a stream, of whose items the events before told; None if it ends with an error."""
    events = [(kind, json.loads(data)) for kind, data in _events(answered)]
    assert [event["sequence_number"] for _, event in events] == [*range(len(events))]
    assert all(kind == event["type"] for kind, event in events)
    last = events[-1][1]
    if last["type"] == "error":
        assert last["message"]
        return None
    found: dict[str, Any] = last["response"]
    assert last["type"] == f"response.{found['status']}"
    assert events[0][1]["response"] == {
        **found, "status": "in_progress", "output": [], "usage": None, "incomplete_details": None,
    }  # fmt: skip
    done = [event["item"] for _, event in events if event["type"] == "response.output_item.done"]
    added = [event for _, event in events if event["type"] == "response.output_item.added"]
    assert done == found["output"]
    assert [event["output_index"] for event in added] == [*range(len(done))]
    assert [event["item"]["id"] for event in added] == [item["id"] for item in done]
    for kind in ("output_text", "refusal", "reasoning_summary_text", "function_call_arguments"):
        name = {"refusal": "refusal", "function_call_arguments": "arguments"}.get(kind, "text")
        said = [event["delta"] for _, event in events if event["type"] == f"response.{kind}.delta"]
        whole = [event[name] for _, event in events if event["type"] == f"response.{kind}.done"]
        assert "".join(said) == "".join(whole)
    parts = [part for item in done for part in item.get("content", item.get("summary", ()))]
    text = [part.get("text", part.get("refusal")) for part in parts]
    whole = [event[name] for _, event in events for name in ("text", "refusal", "arguments")
             if event["type"].endswith(("text.done", "refusal.done")) and name in event]  # fmt: skip
    assert text == whole
    places = {item["id"]: at for at, item in enumerate(done)}
    assert all(places[event["item_id"]] == event["output_index"] for _, event in events if "item_id" in event)
    return found
