"""The program steps of a pipeline: code that a role or the file wrote, run in the sandbox of the tool `python`."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import msgspec
from PIL import Image

from virc.core.errors import NoAnswerError
from virc.reasoning.calls import ToolError, View
from virc.reasoning.encoded import as_png
from virc.reasoning.images import FEWEST_PIXELS, OpenedImage
from virc.reasoning.protocol import CodeSettings
from virc.reasoning.resize import MAX_ASPECT, too_long
from virc.sandbox import pool
from virc.sandbox.calls import Answer, Around, Asked
from virc.solving.pipelines.values import Session, Value
from virc.tools import python

_SETTINGS = CodeSettings()
_MOST_PIXELS = 16_777_216  # of an image that comes back
_MOST_EXACT = 200_000  # characters that code of the file may print
_LOST = " Its state is lost."


class Callee(msgspec.Struct, frozen=True):
    """A function that code may call.

    Args:
        parameters: their names; those that may be left out end in `=`.
        answer: what it does with its arguments, by name; pictures among them are open.
    """

    parameters: tuple[str, ...]
    answer: Callable[[Mapping[str, Any]], Answer]


class Code(msgspec.Struct, frozen=True):
    """A piece of code, and what it may use.

    Args:
        text: Python, also in a Markdown block.
        pictures: the variables image_0, image_1 ... of the code.
        variables: texts by their names.
        functions: that it may call, by their names.
        calls: how often, all of them together.
        seconds: after which it is ended, without those of its calls.
        session: the interpreter that it runs in; None: it has one of its own, which ends with it.
        exact: the output is what it prints, to the character, and an error raises; else a text with its error.
    """

    text: str
    pictures: Sequence[OpenedImage] = ()
    variables: Mapping[str, str] = {}
    functions: Mapping[str, Callee] = {}
    calls: int = 0
    seconds: float = _SETTINGS.seconds
    session: Session | None = None
    exact: bool = False


def run_code(code: Code) -> Value:
    """What code prints, its error included, the images that it saves or shows, and what its interpreter holds.

    Raises:
        SetupError: code cannot be isolated here.
        NoAnswerError: code whose output is exact failed.
        VircError: as its functions.
    """
    session = code.session or Session(pool.Past(pool.Problem()))
    images = (*session.given, *_given(code))
    try:
        call = python.check({"code": code.text}, View([])).call
        reply, pixels, past = _ran(code, call.arguments["code"], session.past, images)
    except ToolError as error:  # a loop may have it corrected, as any other error of the code
        return _value(code, str(error), (), session)
    except pool.DiedError as error:  # the next code finds what there was before this
        return _value(code, str(error).removesuffix(_LOST), (), session)
    session = Session(past, images)
    if code.exact and not reply.fault:
        return Value((reply.stdout,), _pictures(reply, pixels), session=session)
    pictures = _pictures(reply, pixels)
    lines = [reply.stdout.rstrip("\n"), reply.stderr.rstrip("\n"), *reply.notes]
    if len(pictures) < len(pixels):
        lines.append(f"[an image is too small, or one side over {MAX_ASPECT} times the other, and is not shown]")
    output = "\n".join(line for line in lines if line)
    return _value(code, output or ("" if pictures else "The code printed nothing."), pictures, session)


def _value(code: Code, output: str, pictures: tuple[OpenedImage, ...], session: Session) -> Value:
    if code.exact:
        raise NoAnswerError(f"its code failed: {output.strip().rpartition(chr(10))[2]}")
    return Value((output,), pictures, session=session)


def _ran(
    code: Code, text: str, past: pool.Past, images: Sequence[pool.Given]
) -> tuple[pool.Reply, list[bytes], pool.Past]:
    settings = _SETTINGS
    machine = pool.Machine(settings.memory_mib, settings.disk_mib, settings.packages)
    most = _MOST_EXACT if code.exact else settings.most_characters
    limits = pool.Limits(code.seconds, settings.files, settings.most_images, _MOST_PIXELS, most)
    parameters = {name: callee.parameters for name, callee in code.functions.items()}
    around = Around(code.variables, parameters, code.calls, partial(_answered, code))
    return pool.shared().run(past, text, images, machine, limits, code.session is not None, around)


def _given(code: Code) -> list[pool.Given]:
    """The pictures of the code, by their names in it."""
    return [
        pool.Given(pool.Image(f"image_{number}.png", f"image_{number}"), partial(_png, each))
        for number, each in enumerate(code.pictures)
    ]


def _png(picture: OpenedImage) -> bytes:
    return as_png(picture.pixels).data


def _pictures(reply: pool.Reply, pixels: Sequence[bytes]) -> tuple[OpenedImage, ...]:
    """The images that can be shown."""
    images = [Image.frombytes("RGB", size, data) for size, data in zip(reply.images, pixels, strict=True)]
    return tuple(
        OpenedImage(each) for each in images if not too_long(*each.size) and each.width * each.height >= FEWEST_PIXELS
    )


def _answered(code: Code, asked: Asked, pixels: Sequence[bytes]) -> Answer:
    """Check a call, which may come from anything that runs in the sandbox, and carry it out."""
    callee = code.functions[asked.name]
    known = {name.removesuffix("="): name.endswith("=") for name in callee.parameters}
    if asked.arguments.keys() - known.keys() or any(
        name not in asked.arguments for name, may_lack in known.items() if not may_lack
    ):
        return Answer(error=f"it is {asked.name}({', '.join(callee.parameters)})")
    images = [OpenedImage(Image.frombytes("RGB", size, data)) for size, data in zip(asked.images, pixels, strict=True)]
    try:
        arguments = {name: _opened(value, images) for name, value in asked.arguments.items()}
    except (ValueError, TypeError, IndexError, RecursionError):
        return Answer(error=f"{asked.name}() was called with what is no argument")
    return callee.answer(arguments)


def _opened(value: Any, images: Sequence[OpenedImage]) -> Any:
    """An argument as the code wrote it, its pictures open."""
    if isinstance(value, list):
        return [_opened(each, images) for each in value]
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "image" and isinstance(content, int):
        return images[content]
    if kind != "object":
        raise ValueError(kind)
    return {key: _opened(each, images) for key, each in content.items()}
