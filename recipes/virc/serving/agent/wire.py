"""What a client is sent: completions and their chunks (OpenAI API reference), thoughts, and where the model looked."""

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import msgspec
from PIL import Image

from virc.reasoning.session import Unit
from virc.reasoning.trace import Trace
from virc.serving import chat_http
from virc.serving.agent.request import Problem
from virc.solving.one import Attempt, SampleStart, ToolResult

_QUALITY = 90  # of JPEG
_EDGE = 1568  # pixels of its longest side
PING = ": ping\n\n"
"""A comment among the events: a client that is gone is noticed when it is sent."""
TOOL_CALLS = "virc_tool_calls"
"""The field of a message for the tool calls of this server: the API types `tool_calls` and `annotations` as its own."""
TOO_LONG = "the conversation is longer than the model's context length"
"""The message where the context is full; of a sample that had begun, the reason of its end."""

Finish = Literal["stop", "length"]


class Looked(msgspec.Struct, frozen=True):
    """A tool call of one sample, an item of the field `virc_tool_calls`; docs/serving.md has its schema."""

    unit: int
    tool: str
    source: int
    source_size: tuple[int, int]
    box: tuple[int, ...] | None
    image: int
    size: tuple[int, int]
    url: str


def looked(look: ToolResult, unit: int) -> Looked:
    """A tool call as clients get it; `unit` is its number in the sample, from 0."""
    call, number, shown = look.unit.call, look.unit.shown, look.shown
    assert call is not None
    assert number is not None
    url = jpeg_url(shown.pixels)
    return Looked(unit, call.name, call.index, look.source.size, call.box, number, shown.size, url)


def jpeg_url(picture: Image.Image) -> str:
    """A picture as a data URL, smaller than it is where it is very large."""
    if max(picture.size) > _EDGE:
        picture = picture.copy()
        picture.thumbnail((_EDGE, _EDGE))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"


def thoughts(units: Iterable[Unit]) -> str:
    """The thoughts of a sample."""
    return "\n\n".join(unit.think for unit in units)


def ending(trace: Trace) -> dict[str, str]:
    """How a sample ended: `content`, and `refusal` where there is no answer."""
    if trace.answer is not None:
        return {"content": trace.answer}
    content = (trace.units[-1].answer if trace.units else None) or ""
    assert trace.failure
    why = TOO_LONG if trace.failure.kind == "engine" else trace.failure.message  # the engine's own words stay here
    return {"content": content, "refusal": why}


def finish(trace: Trace) -> Finish:
    """Why a sample ended: `length` where its last reply was cut, or the context was full."""
    if trace.failure is None:
        return "stop"
    cut = trace.pending and trace.pending[-1].kind == "length"
    return "length" if cut or trace.failure.kind == "engine" else "stop"


def choice(index: int, attempt: Attempt, looks: Sequence[Looked]) -> dict[str, Any]:
    """A finished sample."""
    message = {
        "role": "assistant",
        **ending(attempt.trace),
        "reasoning_content": thoughts(attempt.trace.units),
        TOOL_CALLS: [msgspec.to_builtins(look) for look in looks],
    }
    return {"index": index, "message": message, "finish_reason": finish(attempt.trace)}


def usage(attempts: Iterable[Attempt]) -> dict[str, int]:
    """Tokens of all turns of all samples."""
    counts = [(attempt.prompt_tokens or 0, attempt.completion_tokens or 0) for attempt in attempts]
    return chat_http.usage(*(sum(count[side] for count in counts) for side in (0, 1)))


class Events:
    """One answer as server-sent events; `framed` is what all its parts have in common."""

    def __init__(self, framed: Mapping[str, Any], problem: Problem) -> None:
        self._framed = {**framed, "object": "chat.completion.chunk"}
        self._problem = problem
        self._attempts: list[Attempt] = []
        self._thoughts = 0

    def event(self, thing: SampleStart | Unit | Looked | Attempt) -> str:
        """Something has happened."""
        match thing:
            case SampleStart():
                self._thoughts = 0
                return self._chunk({"role": "assistant", "content": ""})
            case Unit():
                self._thoughts += 1
                return self._chunk({"reasoning_content": ("\n\n" if self._thoughts > 1 else "") + thing.think})
            case Looked():
                return self._chunk({TOOL_CALLS: [msgspec.to_builtins(thing)]})
            case Attempt():
                pieces = self._chunk(ending(thing.trace)) + self._chunk({}, finish(thing.trace))
                self._attempts.append(thing)
                return pieces

    def ended(self) -> str:
        """What comes last: the usage where it was requested, and the end."""
        counted = chat_http.event({**self._framed, "choices": [], "usage": usage(self._attempts)})
        return (counted if self._problem.counted else "") + "data: [DONE]\n\n"

    def _chunk(self, delta: Mapping[str, Any], ended: Finish | None = None) -> str:
        return chat_http.chunk(self._framed, len(self._attempts), delta, ended)
