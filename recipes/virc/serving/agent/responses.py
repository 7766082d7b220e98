"""The Responses API (OpenAI API reference, "Create a model response").

`as_chat` rewrites a request as one for a chat completion, which the reader of chats then checks. `Response` collects
what happens to the problem, as the events of a stream or as one object. A response is a list of output items: at most
one of kind `reasoning`, whose summary has the thoughts, then a `message` with the answer or a `function_call`. For
each item a stream has the events `output_item.added`, further ones for its parts, and `output_item.done`.
"""

import uuid
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import msgspec

from virc.reasoning.session import Unit
from virc.serving import chat_http
from virc.serving.agent import wire
from virc.serving.agent.answer import Answer
from virc.serving.chat_parts import result_parts
from virc.serving.chat_request import RefusedError, check_amount
from virc.solving.one import SampleStart

_RENAMED = {"max_output_tokens": "max_tokens"}
_WITHOUT_EFFECT = frozenset({"include", "truncation", "max_tool_calls", "stream_options"})
_MAX_BYTES = 2**17  # of a value that is decoded whole
_NULL = msgspec.Raw(b"null")
_Item = dict[str, msgspec.Raw]


class _Request(msgspec.Struct):
    """The fields of a request that a chat has not, or has in another form; all others are passed on as they are."""

    input: str | list[_Item]
    instructions: str | None = None
    text: dict[str, Any] | None = None
    reasoning: dict[str, Any] | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    previous_response_id: str | None = None


def as_chat(body: bytes) -> bytes:
    """The request for a chat completion that asks the same; whoever reads that checks its values.

    Raises:
        RefusedError: the body is no such request, or refers to what this server does not keep.
    """
    check_amount(body, "input")
    try:
        given = msgspec.json.decode(body, type=_Item)
        request = _decode_fields(given)
    except msgspec.ValidationError as error:
        raise RefusedError(f"this is no request for a response: {error}".replace("`", ""), "input") from None
    except (ValueError, RecursionError):
        raise RefusedError("the body is not valid JSON") from None
    if request.previous_response_id is not None:
        raise RefusedError("this server keeps no responses: send the conversation", "previous_response_id")
    not_passed_on = {*_Request.__struct_fields__, *_WITHOUT_EFFECT}
    chat: dict[str, Any] = {_RENAMED.get(name, name): raw for name, raw in given.items() if name not in not_passed_on}
    if bytes(memoryview(chat.pop("background", _NULL))[:5]) not in (b"null", b"false"):
        raise RefusedError("background cannot be honoured by this server: leave it out", "background")
    messages: list[dict[str, Any]] = []
    if request.instructions:
        messages.append({"role": "system", "content": request.instructions})
    if isinstance(request.input, str):
        messages.append({"role": "user", "content": request.input})
    else:
        of_items = (_chat_messages(item, f"input[{index}]") for index, item in enumerate(request.input))
        messages += chain.from_iterable(of_items)
    chat["messages"] = messages
    chat["n"] = 1
    chat |= _chat_format(request.text or {})
    if request.reasoning:
        chat["reasoning_effort"] = request.reasoning
    for tool in request.tools or ():
        kind, function = tool.get("type"), {name: value for name, value in tool.items() if name != "type"}
        chat.setdefault("tools", []).append({"type": kind} | ({"function": function} if kind == "function" else {}))
    if request.tool_choice is not None:
        choice: Any = request.tool_choice
        if isinstance(choice, dict) and choice.get("type") == "function":
            choice = {"type": "function", "function": {"name": choice.get("name")}}
        chat["tool_choice"] = choice
    return msgspec.json.encode(chat)


def _decode_fields(given: _Item) -> _Request:
    """The fields of `_Request`: items of `input` stay undecoded, and all but texts must be short."""
    if "input" not in given:
        raise RefusedError("the parameter input is missing", "input")
    values = {}
    for field in msgspec.structs.fields(_Request):
        raw = given.get(field.name, _NULL)
        if field.name not in ("input", "instructions") and len(memoryview(raw)) > _MAX_BYTES:
            raise RefusedError(f"{field.name}: the value is over {_MAX_BYTES} bytes", field.name)
        values[field.name] = msgspec.json.decode(raw, type=field.type)
    return _Request(**values)


def _chat_messages(item: _Item, place: str) -> list[dict[str, Any]]:
    """The messages of a chat that an item of `input` stands for: one, or none for the thoughts of an earlier answer."""

    def part(name: str) -> msgspec.Raw:
        return item.get(name, _NULL)

    try:
        kind = msgspec.json.decode(item.get("type", b'"message"'), type=str)
    except msgspec.ValidationError:
        raise RefusedError(f"{place}: the type is no text", place) from None
    match kind:
        case "message":
            return [{"role": part("role"), "content": part("content")}]
        case "function_call" | "custom_tool_call" | "computer_call" | "local_shell_call" | "web_search_call":
            arguments = item.get("arguments", item.get("input", item.get("action", msgspec.Raw(b"{}"))))
            is_text = bytes(memoryview(arguments)[:1]) == b'"'
            function = {
                "name": item.get("name", kind),
                "arguments": arguments if is_text else bytes(arguments).decode(),
            }
            call = {"id": part("call_id"), "type": "function", "function": function}
            return [{"role": "assistant", "content": None, "tool_calls": [call]}]
        case "function_call_output" | "custom_tool_call_output" | "computer_call_output" | "local_shell_call_output":
            output = part("output")
            is_text = bytes(memoryview(output)[:1]) == b'"'
            parts = None if is_text else result_parts(bytes(output))
            content = output if is_text else bytes(output).decode() if parts is None else parts
            return [{"role": "tool", "tool_call_id": part("call_id"), "content": content}]
        case "reasoning":
            return []
        case "item_reference":
            sentence = "this server keeps no items to refer to: send them whole (in the AI SDK: store: false)"
            raise RefusedError(f"{place}: {sentence}", place)
    raise RefusedError(f"{place}: items of type {kind[:40]!r} are not taken", place)


def _chat_format(text: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a chat for `text` of a request."""
    fields: dict[str, Any] = {"verbosity": text["verbosity"]} if text.get("verbosity") else {}
    form = text.get("format")
    if isinstance(form, dict) and form.get("type") == "json_schema":
        schema = {name: value for name, value in form.items() if name != "type"}
        form = {"type": "json_schema", "json_schema": schema}
    if form:
        fields["response_format"] = form
    return fields


class Response:
    """One response; `event`, `ended` and `failed` return the server-sent events to write, `whole` the object."""

    def __init__(self, framed: Mapping[str, Any]) -> None:
        self._fields = {
            "id": _id("resp"), "object": "response", "created_at": framed["created"], "model": framed["model"],
            "error": None, "incomplete_details": None, "instructions": None, "metadata": {}, "temperature": None,
            "top_p": None, "parallel_tool_calls": False, "tool_choice": "auto", "tools": [],
        }  # fmt: skip
        self._events = 0
        self._calls: list[dict[str, Any]] = []  # tool calls of the agent, for the item of the answer
        self._thoughts: list[str] = []
        self._reasoning_id = _id("rs")
        self._items: list[dict[str, Any]] = []  # output items that are complete
        self._answer: Answer | None = None

    def event(self, thing: SampleStart | Unit | wire.Looked | Answer) -> str:
        match thing:
            case SampleStart():
                return self._encode_event("response.created", response=self.whole("in_progress"))
            case Unit():
                return self._thought_events(thing.think)
            case wire.Looked():
                self._calls.append(wire.tool_call(len(self._calls), thing))
                return ""
            case Answer():
                self._answer = thing
                return self._thoughts_done() + self._answer_events(thing)

    def ended(self) -> str:
        response = self.whole()
        return self._encode_event(f"response.{response['status']}", response=response)

    def failed(self, refused: RefusedError) -> str:
        return self._encode_event("error", code=refused.code, message=refused.message, param=refused.param)

    def whole(self, status: str | None = None) -> dict[str, Any]:
        """The response object; `status` as long as it has no answer."""
        cut = self._answer is not None and self._answer.finish == "length"
        details = {"incomplete_details": {"reason": "max_output_tokens"}} if cut else {}
        usage = self._answer and {
            "input_tokens": self._answer.prompt_tokens,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": self._answer.completion_tokens,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": self._answer.prompt_tokens + self._answer.completion_tokens,
        }
        status = status or ("incomplete" if cut else "completed")
        return {**self._fields, "status": status, "output": self._items, "usage": usage, **details}

    def _thought_events(self, text: str) -> str:
        """Thoughts are paragraphs of one part of the summary: clients run several parts together without a space."""
        is_first = not self._thoughts
        self._thoughts.append(text)
        if not is_first:
            return self._summary_event("text.delta", delta=wire.PARAGRAPH + text)
        return "".join([
            self._item_added(self._reasoning_item([])),
            self._summary_event("part.added", part={"type": "summary_text", "text": ""}),
            self._summary_event("text.delta", delta=text),
        ])  # fmt: skip

    def _thoughts_done(self) -> str:
        if not self._thoughts:
            return ""
        part = {"type": "summary_text", "text": wire.PARAGRAPH.join(self._thoughts)}
        done = self._summary_event("text.done", text=part["text"]) + self._summary_event("part.done", part=part)
        return done + self._item_done(self._reasoning_item([part]))

    def _summary_event(self, kind: str, **fields: Any) -> str:
        at = {"item_id": self._reasoning_id, "output_index": 0, "summary_index": 0}
        return self._encode_event(f"response.reasoning_summary_{kind}", **at, **fields)

    def _reasoning_item(self, parts: Sequence[Mapping[str, str]]) -> dict[str, Any]:
        return {"type": "reasoning", "id": self._reasoning_id, "summary": parts}

    def _answer_events(self, answer: Answer) -> str:
        if answer.call:
            return self._call_events(answer)
        refused = answer.refusal is not None
        text, kind = (answer.refusal, "refusal") if refused else (answer.content, "output_text")
        part: dict[str, Any] = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
        if refused:
            part = {"type": "refusal", "refusal": text}
        text_field = "refusal" if refused else "text"
        item = {"type": "message", "id": _id("msg"), "role": "assistant", "status": "in_progress", "content": []}
        at = {"item_id": item["id"], "output_index": len(self._items), "content_index": 0}
        logprobs: dict[str, Any] = {} if refused else {"logprobs": []}
        empty = {**part, text_field: ""}
        return "".join([
            self._item_added(item),
            self._encode_event("response.content_part.added", **at, part=empty),
            self._encode_event(f"response.{kind}.delta", **at, delta=text, **logprobs),
            self._encode_event(f"response.{kind}.done", **at, **{text_field: text}, **logprobs),
            self._encode_event("response.content_part.done", **at, part=part),
            self._item_done({**item, "status": "completed", "content": [part], **self._own_fields(answer)}),
        ])  # fmt: skip

    def _call_events(self, answer: Answer) -> str:
        assert answer.call
        item = {
            "type": "function_call", "id": _id("fc"), "call_id": _id("call"), "name": answer.call.name,
            "arguments": answer.call.arguments, "status": "completed",
        }  # fmt: skip
        at = {"item_id": item["id"], "output_index": len(self._items)}
        arguments = {"name": answer.call.name, "arguments": answer.call.arguments}
        return "".join([
            self._item_added({**item, "arguments": "", "status": "in_progress"}),
            self._encode_event("response.function_call_arguments.delta", **at, delta=answer.call.arguments),
            self._encode_event("response.function_call_arguments.done", **at, **arguments),
            self._item_done({**item, **self._own_fields(answer)}),
        ])  # fmt: skip

    def _own_fields(self, answer: Answer) -> dict[str, Any]:
        return {wire.TOOL_CALLS: self._calls, **wire.warned(answer)}

    def _item_added(self, item: Mapping[str, Any]) -> str:
        return self._encode_event("response.output_item.added", output_index=len(self._items), item=item)

    def _item_done(self, item: dict[str, Any]) -> str:
        self._items.append(item)
        return self._encode_event("response.output_item.done", output_index=len(self._items) - 1, item=item)

    def _encode_event(self, kind: str, **fields: Any) -> str:
        self._events += 1
        return f"event: {kind}\n" + chat_http.event({"type": kind, "sequence_number": self._events - 1, **fields})


def _id(kind: str) -> str:
    return f"{kind}_{uuid.uuid4().hex}"
