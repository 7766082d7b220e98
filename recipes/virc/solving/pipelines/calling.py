"""The functions that code of a step may call: they ask a role of the pipeline, or a tool."""

import itertools
import json
import re
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import msgspec
from PIL import Image

from virc.core.errors import VircError
from virc.core.seeds import derived
from virc.core.text import clause, plain
from virc.reasoning.bodies import BOX, INDEX, POINT, POINTS
from virc.reasoning.calls import Result, Size, Tool, ToolError, View
from virc.reasoning.checking import check_call, properties
from virc.reasoning.encoded import as_png
from virc.reasoning.images import FEWEST_PIXELS, OpenedImage
from virc.reasoning.resample import Rescaled
from virc.reasoning.resize import MAX_ASPECT, too_long
from virc.sandbox.calls import Answer
from virc.solving.pipelines.program import Callee
from virc.solving.pipelines.schema import Function, Pipeline, Step
from virc.solving.pipelines.speaking import Speaker, naming, sampling_of
from virc.solving.pipelines.turns import turn
from virc.solving.pipelines.values import Value

_IMAGE = "image"
"""The parameter of a tool that is about an image."""
_FENCED = re.compile(r"```(?:json)?\s*\n(.*?)\n?\s*```", re.DOTALL)


class Called(msgspec.Struct, frozen=True):
    """A call of a function by code.

    Args:
        by: its role or tool.
        prompt: what the role was sent, or the arguments of the tool.
        output: what was replied, before the function read it.
        error: why the code got no value.
        pictures: (width, height) in pixels of those that it was called with.
        replies, prompt_tokens, completion_tokens: of its role, as of a step.
        seconds: how long it took.
    """

    function: str
    by: str
    prompt: str
    output: str = ""
    error: str | None = None
    pictures: tuple[Size, ...] = ()
    replies: int = 0
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    seconds: float | None = None


OnCall = Callable[[Called], None]


class Callers(msgspec.Struct, frozen=True):
    """What answers the calls of a step's code.

    Args:
        speakers: by role.
        tools: of functions that have one which is here.
        place: of the step in the run, which seeds are derived from.
        on_call: gets each call.
    """

    pipeline: Pipeline
    speakers: Mapping[str, Speaker]
    tools: Mapping[str, Tool]
    step: Step
    seed: int | None
    place: tuple[object, ...]
    on_call: OnCall

    def functions(self) -> dict[str, Callee]:
        """Those of the step, by their names."""
        return {name: self._callee(name, self.pipeline.functions[name]) for name in self.step.functions}

    def _callee(self, name: str, function: Function) -> Callee:
        if function.ask:
            numbers = itertools.count()  # calls with the same prompt are drawn with seeds that differ
            return Callee(function.placeholders, lambda given: self._spoken(name, function, given, next(numbers)))
        tool = self.tools.get(name)
        if tool is None:
            lacks = f"{name}() has no tool here: there is none of the name {function.tool}"
            return Callee(("image=", "argument="), lambda _: Answer(error=lacks))
        return Callee(parameters(tool), partial(self._tool, name, function, tool))

    def _spoken(self, name: str, function: Function, given: Mapping[str, Any], number: int) -> Answer:
        """Ask a role. Raises VircError: it failed, which ends the problem, as where a step asks it."""
        role, step = function.ask or "", self.step
        shown = {key: _pictures_in(value) for key, value in given.items()}
        named = tuple(key for key in function.placeholders if shown[key])
        texts = {key: _text(value) for key, value in given.items() if not shown[key]}
        values = {key: Value(pictures=tuple(shown[key])) for key in named}
        asked = turn(Step(name=f"{step.name}, {name}()", prompt=function.prompt, images=named), texts, values)
        call = Called(name, role, asked.prompt, pictures=tuple(each.size for each in asked.pictures))
        if fault := next(filter(None, map(_unseen, asked.pictures)), None):
            return self._failed(call, f"{name}() was called with {fault}")
        if self.pipeline.roles[role].own_protocol and not asked.pictures:
            return self._failed(call, f"{name}() needs a picture: its role is asked by its own chat protocol")
        seed = None if self.seed is None else derived(self.seed, *self.place, name, number)
        began = time.monotonic()
        with naming(f"role {role!r}, step {step.name!r}, {name}()"):
            spoken = self.speakers[role]([asked], sampling_of(self.pipeline.roles[role], seed))
        reply = spoken.reply
        done = msgspec.structs.replace(
            call, output=reply.text, replies=spoken.replies, prompt_tokens=reply.prompt_tokens,
            completion_tokens=reply.completion_tokens, seconds=round(time.monotonic() - began, 3),
        )  # fmt: skip
        return self._given(done, function, reply.text, [])

    def _tool(self, name: str, function: Function, tool: Tool, given: Mapping[str, Any]) -> Answer:
        pictures = _pictures_in(given.get(_IMAGE)) if _is_about_images(tool) else []
        written = {key: value for key, value in given.items() if value is not None and not (pictures and key == _IMAGE)}
        call = Called(name, tool.NAME, _text(written), pictures=tuple(each.size for each in pictures))
        if _is_about_images(tool) and len(pictures) != 1:
            return self._failed(call, f"{name}() needs one picture as {_IMAGE}")
        began = time.monotonic()
        try:
            text, images = _applied(tool, written, pictures)
        except VircError:
            raise
        except Exception as error:  # a tool of one's own may fail in any way
            reason = clause(error) if isinstance(error, ToolError) else f"{type(error).__name__}: {clause(error)}"
            return self._failed(call, f"{name}() failed: {reason}")
        done = msgspec.structs.replace(call, output=text, seconds=round(time.monotonic() - began, 3))
        return self._given(done, function, text, images)

    def _given(self, call: Called, function: Function, text: str, images: list[Image.Image]) -> Answer:
        """What the code gets."""
        if function.gives == "images":
            made = [f"picture of {each.width} x {each.height} px" for each in images]
            self.on_call(msgspec.structs.replace(call, output="\n".join([*([text] if text else []), *made])))
            return Answer([], images=tuple(as_png(each.convert("RGB")).data for each in images))
        if function.gives == "text":
            self.on_call(call)
            return Answer(text)
        fenced = _FENCED.search(text)
        try:
            value = json.loads(fenced[1] if fenced else text)
        except (ValueError, RecursionError):
            return self._failed(call, f"{call.function}() gave no JSON: {plain(text, 200)}")
        self.on_call(call)
        return Answer(value)

    def _failed(self, call: Called, error: str) -> Answer:
        self.on_call(msgspec.structs.replace(call, error=error))
        return Answer(error=error)


def parameters(tool: Tool) -> tuple[str, ...]:
    """Of a function that calls a tool: the picture, what its schema requires, and what may be left out, with `=`."""
    required = tool.SCHEMA["function"].get("parameters", {}).get("required", ())
    names = [name for name in properties(tool) if name != INDEX]
    needed = [name for name in names if name in required]
    return (
        *((_IMAGE,) if _is_about_images(tool) else ()),
        *needed,
        *(f"{name}=" for name in names if name not in needed),
    )


def _is_about_images(tool: Tool) -> bool:
    return bool({INDEX, BOX, POINT, POINTS} & properties(tool).keys())


def _applied(tool: Tool, written: Mapping[str, Any], pictures: list[OpenedImage]) -> tuple[str, list[Image.Image]]:
    """A tool's text and images."""
    sizes = [each.size for each in pictures]
    number = {INDEX: 0} if INDEX in properties(tool) else {}
    call = check_call(tool, {**written, **number}, View(sizes, originals=sizes, float_boxes=True)).call
    made = tool.apply(call, pictures[0].pixels if pictures else None)
    result = made if isinstance(made, Result) else Result(made) if isinstance(made, str) else Result(images=[made])
    if not isinstance(result.text, str):
        raise ToolError(f"its text is {type(result.text).__name__}")
    return result.text, [_whole(each) for each in result.images]


def _whole(made: Image.Image | Rescaled) -> Image.Image:
    """An image of a tool, which of one's own may be anything. Raises ToolError: it is no image with pixels."""
    image: object = made.cut.resize(made.size) if isinstance(made, Rescaled) else made
    if not isinstance(image, Image.Image) or 0 in image.size:
        raise ToolError(f"it returned {type(made).__name__} where a text or an image with pixels is due")
    return image


def _unseen(picture: OpenedImage) -> str | None:
    """Why a role cannot be shown a picture, which code may have cut anyhow; None where it can."""
    width, height = picture.size
    if too_long(width, height):
        return f"a picture of {width} x {height} px: one side is over {MAX_ASPECT} times the other"
    return f"a picture of {width} x {height} px, which is too small" if width * height < FEWEST_PIXELS else None


def _pictures_in(value: Any) -> list[OpenedImage]:
    """The picture, or the pictures of a list that holds nothing else."""
    listed = value if isinstance(value, list) else [value]
    return listed if all(isinstance(each, OpenedImage) for each in listed) else []


def _text(value: Any) -> str:
    """A value in a prompt: a text as it is, everything else as JSON."""
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, default=lambda each: "x".join(map(str, getattr(each, "size", "?"))))
