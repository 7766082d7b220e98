"""Python code that a role or a pipeline wrote, run in the sandbox of the tool `python`.

Read `Interpreter.run` first; code that calls a function of the pipeline is answered by `_answer_call`.
"""

import contextvars
import inspect
import json
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import msgspec
from PIL import Image

from virc.core.errors import NoAnswerError, VircError
from virc.core.limits import guarded
from virc.core.text import clause, plain
from virc.reasoning.calls import ToolError, View
from virc.reasoning.encoded import as_png
from virc.reasoning.images import FEWEST_PIXELS, OpenedImage
from virc.reasoning.messages import printable
from virc.reasoning.protocol import CodeSettings
from virc.reasoning.resize import MAX_ASPECT, too_long
from virc_extras.pipelines.steps import Called, Made, Ran, here
from virc_extras.pipelines.turns import Picture, opened
from virc_extras.sandbox import pool, python
from virc_extras.sandbox.calls import Answer, Around, Asked

_SETTINGS = CodeSettings()
_MAX_PIXELS = 16_777_216  # of an image that comes back
_MAX_EXACT = 200_000  # characters that exact code may print
_LOST = " Its state is lost."
Function = Callable[..., Any]
"""A function that code may call. It gets JSON values and open pictures; it returns JSON, a picture, or several."""


class Output(str):
    """What code printed, its error included, and the pictures that it saved or showed."""

    __slots__ = ("images",)
    images: tuple[OpenedImage, ...]

    def __new__(cls, text: str, images: tuple[OpenedImage, ...] = ()) -> "Output":
        made = super().__new__(cls, text)
        made.images = images
        return made


class Interpreter:
    """A Python interpreter in the sandbox: each piece of code has the names that the pieces before it defined.

    If a piece of code is ended early, the state is that before it.

    Raises:
        SetupError: code cannot be isolated here.
    """

    def __init__(self) -> None:
        python.ready()
        self._busy = threading.Lock()
        self._past, self._pictures = pool.Past(pool.SandboxProblem()), tuple[pool.Given, ...]()

    def run(
        self,
        code: str,
        images: Iterable[Picture] = (),
        variables: Mapping[str, str] = {},
        functions: Mapping[str, Function] = {},
        *,
        calls: int = 32,
        seconds: float = _SETTINGS.seconds,
        exact: bool = False,
        step: str = "code",
    ) -> Output:
        """Run Python, also in a Markdown block.

        Args:
            images: the variables image_0, image_1 ... of the code.
            variables: texts by their names.
            functions: functions that it may call, by their names. If one raises ValueError or ToolError, the call
                raises in the code; if a role fails in one, the problem ends.
            calls: how many calls it may make, of all functions together.
            seconds: time after which the code is ended, without the time of its calls.
            exact: whether the output is exactly what it prints, and an error in it ends the problem.

        Raises:
            NoAnswerError: exact code failed.
            RuntimeError: the interpreter is running another piece of code.
            VircError: a role failed in one of the functions.
        """
        branch, began = here(), time.monotonic()
        place, code = branch.next(), printable(str(code))  # without the attributes of a `Reply` or an `Output`
        if branch.run.is_dry:
            branch.run.add(place, Ran(name=step, kind="code", prompt=code, output=(f"{{{step}}}",)))
            return Output(f"{{{step}}}")
        callees, called = {name: Callee(name, function) for name, function in functions.items()}, list[Called]()
        parameters = {name: each.parameters for name, each in callees.items()}
        around = Around(
            {name: printable(str(each)) for name, each in variables.items()},
            parameters,
            calls,
            partial(_answer_call, callees, called),
        )
        output = self._output(code, [opened(each) for each in images], around, seconds, exact)
        ran = Ran(
            name=step,
            kind="code",
            prompt=code,
            output=(str(output),),
            seconds=round(time.monotonic() - began, 3),
            calls=tuple(called),
        )
        branch.run.add(place, ran, Made(output.images))
        return output

    def _output(self, code: str, images: Sequence[OpenedImage], around: Around, seconds: float, exact: bool) -> Output:
        if not self._busy.acquire(blocking=False):
            raise RuntimeError("an Interpreter runs one piece of code at a time")
        try:
            return self._run(code, images, around, seconds, exact)
        finally:
            self._busy.release()

    def _run(self, code: str, images: Sequence[OpenedImage], around: Around, seconds: float, exact: bool) -> Output:
        all_given = (*self._pictures, *_as_given(images))
        machine = pool.Machine(_SETTINGS.memory_mib, _SETTINGS.disk_mib, _SETTINGS.packages)
        most = _MAX_EXACT if exact else _SETTINGS.most_characters
        limits = pool.Limits(seconds, _SETTINGS.files, _SETTINGS.most_images, _MAX_PIXELS, most)
        try:
            text = python.check({"code": code}, View([])).call.arguments["code"]
            reply, pixels, self._past = pool.shared().run(self._past, text, all_given, machine, limits, True, around)
        except (ToolError, pool.DiedError) as error:  # the pipeline may have it corrected, as any error of the code
            return _output(str(error).removesuffix(_LOST), (), exact)
        self._pictures = all_given
        pictures = _pictures_of(reply, pixels)
        if exact and len(reply.stdout) > _MAX_EXACT:  # the sandbox has cut it in the middle
            return _output(f"it prints over {_MAX_EXACT:,} characters", (), exact)
        if exact and not reply.fault:
            return Output(reply.stdout, pictures)
        lines = [reply.stdout.rstrip("\n"), reply.stderr.rstrip("\n"), *reply.notes]
        if len(pictures) < len(pixels):
            lines.append(f"[an image is too small, or one side over {MAX_ASPECT} times the other, and is not shown]")
        printed = "\n".join(line for line in lines if line)
        return _output(printed or ("" if pictures else "The code printed nothing."), pictures, exact)


def _output(text: str, pictures: tuple[OpenedImage, ...], exact: bool) -> Output:
    if exact:
        raise NoAnswerError(f"code of the pipeline failed: {text.strip().rpartition(chr(10))[2]}")
    return Output(text, pictures)


def _as_given(images: Sequence[OpenedImage]) -> list[pool.Given]:
    return [
        pool.Given(pool.Image(f"image_{number}.png", f"image_{number}"), partial(_png, each))
        for number, each in enumerate(images)
    ]


def _png(picture: OpenedImage) -> bytes:
    return as_png(picture.pixels).data


def _pictures_of(reply: pool.CodeReply, pixels: Sequence[bytes]) -> tuple[OpenedImage, ...]:
    images = [Image.frombytes("RGB", size, data) for size, data in zip(reply.images, pixels, strict=True)]
    return tuple(
        OpenedImage(each) for each in images if not too_long(*each.size) and each.width * each.height >= FEWEST_PIXELS
    )


class Callee:
    """A function that code may call; `parameters` are their names, with `=` behind those that have a default."""

    def __init__(self, name: str, function: Function) -> None:
        self.name, self._function = name, function
        self._context = contextvars.copy_context()  # its steps are added to those of the run
        parameters = inspect.signature(function).parameters.values()
        self.parameters = tuple(each.name if each.default is each.empty else f"{each.name}=" for each in parameters)

    def fits(self, arguments: Mapping[str, Any]) -> bool:
        required = {name for name in self.parameters if not name.endswith("=")}
        return required <= arguments.keys() <= {name.removesuffix("=") for name in self.parameters}

    def __call__(self, arguments: Mapping[str, Any]) -> tuple[Called, Answer]:
        """Carry out a call. Raises VircError: a role that it asks failed, which ends the problem."""
        sizes = tuple(each.size for each in arguments.values() if isinstance(each, OpenedImage))
        call, began = Called(self.name, text_of(arguments), pictures=sizes), time.monotonic()
        try:
            output, answer = _returned(self._context.run(self._function, **arguments))
        except VircError:
            raise
        except (Exception, SystemExit) as error:  # a function of the pipeline may fail in any way
            if isinstance(error, SystemExit) and guarded.is_of_a_signal(error):
                raise
            kind = "" if isinstance(error, ToolError | ValueError) else f"{type(error).__name__}: "
            output, answer = "", Answer(error=f"{self.name}() failed: {kind}{plain(str(error), 200)}")
        seconds = round(time.monotonic() - began, 3)
        return msgspec.structs.replace(call, output=output, error=answer.error, seconds=seconds), answer


def _returned(value: Any) -> tuple[str, Answer]:
    """What a function returned, as text and as the code gets it; a ValueError if it is neither JSON nor pictures."""
    listed = value if isinstance(value, list | tuple) else [value]
    if value and listed and all(isinstance(each, OpenedImage | Image.Image) for each in listed):
        images = [opened(each) for each in listed]
        sizes = "\n".join(f"picture of {each.size[0]} x {each.size[1]} px" for each in images)
        return sizes, Answer([], images=tuple(map(_png, images)))
    try:
        return text_of(value), Answer(json.loads(json.dumps(value)))
    except (TypeError, RecursionError) as error:
        raise ValueError(f"it gave no JSON: {clause(error)}") from None


def _answer_call(callees: Mapping[str, Callee], called: list[Called], asked: Asked, pixels: Sequence[bytes]) -> Answer:
    """Check a call, which may come from anything that runs in the sandbox, and carry it out."""
    callee = callees[asked.name]
    if not callee.fits(asked.arguments):
        return Answer(error=f"it is {asked.name}({', '.join(callee.parameters)})")
    images = [OpenedImage(Image.frombytes("RGB", size, data)) for size, data in zip(asked.images, pixels, strict=True)]
    try:
        arguments = {name: _with_pictures(value, images) for name, value in asked.arguments.items()}
    except (ValueError, TypeError, IndexError, RecursionError):
        return Answer(error=f"{asked.name}() was called with what is no argument")
    call, answer = callee(arguments)
    called.append(call)
    return answer


def _with_pictures(value: Any, images: Sequence[OpenedImage]) -> Any:
    """An argument as the function gets it: in a call `{"image": N}` is a picture, and `{"object": {...}}` an object."""
    if isinstance(value, list):
        return [_with_pictures(each, images) for each in value]
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "image" and isinstance(content, int):
        return images[content]
    if kind != "object" or not isinstance(content, dict):
        raise ValueError(kind)
    return {key: _with_pictures(each, images) for key, each in content.items()}


def text_of(value: Any) -> str:
    return str(value) if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=_sized)


def _sized(value: Any) -> str:
    if not isinstance(value, OpenedImage | Image.Image):
        raise TypeError(f"{type(value).__name__} is no JSON")
    return "x".join(map(str, value.size))
