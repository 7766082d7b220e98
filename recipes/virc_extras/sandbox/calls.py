"""What this process and one of the sandbox say to each other. Nothing that comes from there is trusted."""

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta

Side = Annotated[int, Meta(ge=1, le=2**20)]
"""Of an image that comes from the sandbox, in pixels."""


class Asked(msgspec.Struct, frozen=True, tag_field="kind", tag="call"):
    """A call of one of the functions that code was given.

    Args:
        arguments: by the names of its parameters. An image is `{"image": N}`, and an object `{"object": {...}}`.
        images: their (width, height) in pixels.
    """

    id: int
    name: str
    arguments: dict[str, Any]
    images: tuple[tuple[Side, Side], ...] = ()


class Answer(msgspec.Struct, frozen=True):
    """What the code gets back.

    Args:
        error: why there is no value, which the code gets as an exception.
        images: PNG files; where there are some, the value is their list.
    """

    value: Any = None
    error: str | None = None
    images: tuple[bytes, ...] = ()


Answering = Callable[[Asked, Sequence[bytes]], Answer]
"""Answers a call; gets the red, green and blue of each pixel of its images."""


class Around(msgspec.Struct, frozen=True):
    """What a piece of code has besides its images.

    Args:
        functions: that it may call: name -> names of the parameters.
        max_calls: of all of them together. The next one raises an error, and code that goes on is ended.
        answer: answers the calls, in the order in which they are made. What it raises ends the process.
    """

    variables: Mapping[str, str] = {}
    functions: Mapping[str, tuple[str, ...]] = {}
    max_calls: int = 0
    answer: Answering | None = None


NOTHING = Around()


class Image(msgspec.Struct, frozen=True):
    """An image that the code is given: a file in its folder, and the variables that hold it and its path; "": none."""

    file: str
    name: str = ""
    path_name: str = ""


class Request(msgspec.Struct, frozen=True):
    """A piece of code to run.

    Args:
        images: that the code has not been given before.
        files: which image files it gives back: those that it wrote, those whose paths it printed, or none.
        max_images, max_pixels, max_characters: that it gives back, of pixels for each image.
        variables, functions, max_calls: as in `Around`.
        max_call_images: of one call of a function, whose images have at most `max_pixels` together.
    """

    code: str
    images: tuple[Image, ...]
    files: str
    max_images: int
    max_pixels: int
    max_characters: int
    id: int = 0
    variables: Mapping[str, str] = {}
    functions: Mapping[str, tuple[str, ...]] = {}
    max_calls: int = 0
    max_call_images: int = 16


class CodeReply(msgspec.Struct, frozen=True, tag_field="kind", tag="reply"):
    """What a process says a piece of code came to; `images` are their (width, height) in pixels."""

    id: int
    stdout: str
    stderr: str
    notes: tuple[str, ...]
    fault: bool
    images: tuple[tuple[Side, Side], ...]
