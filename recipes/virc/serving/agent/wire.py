"""What a client is sent: completions and their chunks (OpenAI API reference), thoughts, and where the model looked."""

import base64
import io
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
from PIL import Image

from virc.reasoning.session import Unit
from virc.serving import chat_http
from virc.serving.agent.answer import Answer, Finish
from virc.serving.agent.request import AgentProblem
from virc.serving.chat_request import RefusedError
from virc.solving.one import SampleStart, ToolResult

_QUALITY = 90  # of JPEG
_EDGE = 1568  # pixels of its longest side
PING = ": ping\n\n"
"""A comment among the events: a client that is gone is noticed when it is sent."""
TOOL_CALLS = "virc_tool_calls"
"""The field of a message for the tool calls of this server: the API types `tool_calls` and `annotations` as its own."""
_WARNINGS = "virc_warnings"
"""The field for what is not shown of the pictures."""
PARAGRAPH = "\n\n"  # between thoughts


class Looked(msgspec.Struct, frozen=True):
    """A tool call of one sample, an item of the field `virc_tool_calls`; docs/serving.md has its schema."""

    unit: int
    tool: str | None = None
    source: int | None = None
    source_size: tuple[int, int] | None = None
    box: tuple[int, ...] | None = None
    image: int | None = None
    size: tuple[int, int] | None = None
    url: str | None = None
    text: str | None = None
    error: str | None = None


def looked(look: ToolResult, unit: int) -> Iterator[Looked]:
    """Result of a tool call as clients get it, an item an image; `unit` is its number in the sample, from 0."""
    result, call = look.result, look.result.call
    known = Looked(unit, text=result.text or None, error=result.error)
    if call:
        size = look.source.size if look.source else None
        known = msgspec.structs.replace(known, tool=call.name, source=call.index, source_size=size, box=call.box)
    if not look.images:
        yield known
    for number, shown in look.images:
        is_sent = shown.is_jpeg and max(shown.size) <= _EDGE
        url = shown.data_url if is_sent else jpeg_url(shown.pixels)
        yield msgspec.structs.replace(known, image=number, size=shown.size, url=url)


def jpeg_url(picture: Image.Image) -> str:
    """A picture as a data URL, scaled down if it is very large."""
    if max(picture.size) > _EDGE:
        picture = picture.copy()
        picture.thumbnail((_EDGE, _EDGE))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"


def choice(index: int, answer: Answer, thoughts: Sequence[str], calls: Sequence[Looked]) -> dict[str, Any]:
    message = {
        "role": "assistant",
        **_ending(answer),
        **warned(answer),
        "reasoning_content": PARAGRAPH.join(thoughts),
        TOOL_CALLS: [tool_call(index, call) for index, call in enumerate(calls)],
    }
    return {"index": index, "message": message, "finish_reason": answer.finish}


def tool_call(index: int, call: Looked) -> dict[str, Any]:
    """A tool call as sent; helpers of clients put the lists of a stream together by `index`."""
    return {"index": index, **msgspec.to_builtins(call)}


def _ending(answer: Answer) -> dict[str, Any]:
    if answer.call:
        function = msgspec.to_builtins(answer.call)
        call = {"index": 0, "id": f"call_{uuid.uuid4().hex}", "type": "function", "function": function}
        return {"content": None, "tool_calls": [call]}
    return {"content": answer.content} | ({} if answer.refusal is None else {"refusal": answer.refusal})


def warned(answer: Answer) -> dict[str, Any]:
    """The field of a message for what is not shown, if there is any."""
    return {_WARNINGS: answer.warnings} if answer.warnings else {}


def usage(answers: Sequence[Answer]) -> dict[str, int]:
    return chat_http.usage(
        sum(answer.prompt_tokens for answer in answers), sum(answer.completion_tokens for answer in answers)
    )


class Events:
    def __init__(self, framed: Mapping[str, Any], problem: AgentProblem) -> None:
        self._framed = {**framed, "object": "chat.completion.chunk"}
        self._problem = problem
        self._answers: list[Answer] = []
        self._thoughts = self._calls = 0

    def event(self, thing: SampleStart | Unit | Looked | Answer) -> str:
        match thing:
            case SampleStart():
                self._thoughts = self._calls = 0
                return self._chunk({"role": "assistant", "content": ""})
            case Unit():
                self._thoughts += 1
                return self._chunk({"reasoning_content": (PARAGRAPH if self._thoughts > 1 else "") + thing.think})
            case Looked():
                self._calls += 1
                # LiteLLM drops a chunk that has neither content nor thoughts, with all else in it
                return self._chunk({"reasoning_content": "", TOOL_CALLS: [tool_call(self._calls - 1, thing)]})
            case Answer():
                pieces = self._chunk(_ending(thing) | warned(thing)) + self._chunk({}, thing.finish)
                self._answers.append(thing)
                return pieces

    def ended(self) -> str:
        counted = chat_http.event({**self._framed, "choices": [], "usage": usage(self._answers)})
        return (counted if self._problem.counted else "") + "data: [DONE]\n\n"

    def failed(self, refused: RefusedError) -> str:
        return chat_http.event({"error": chat_http.error_fields(refused)})

    def _chunk(self, delta: Mapping[str, Any], ended: Finish | None = None) -> str:
        return chat_http.chunk(self._framed, len(self._answers), delta, ended)
