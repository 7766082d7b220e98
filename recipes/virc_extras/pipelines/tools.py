"""The tools that a pipeline calls: those of this package, of installed packages, or of files next to it."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from PIL import Image

from virc.core import plugins
from virc.core.errors import ConfigError, VircError
from virc.core.text import clause
from virc.reasoning.bodies import BOX, INDEX, POINT, POINTS
from virc.reasoning.calls import Result, Tool, ToolError, View
from virc.reasoning.checking import check_call, properties
from virc.reasoning.images import OpenedImage
from virc.reasoning.resample import Rescaled
from virc.tools import registry
from virc_extras.pipelines.code import text_of
from virc_extras.pipelines.speaking import naming
from virc_extras.pipelines.steps import Made, Ran, here
from virc_extras.pipelines.turns import Picture, opened


class ToolOutput(msgspec.Struct, frozen=True):
    text: str = ""
    images: tuple[OpenedImage, ...] = ()

    @property
    def json(self) -> Any:
        """The JSON in its text. Raises ToolError: there is none."""
        try:
            return msgspec.json.decode(self.text)
        except msgspec.DecodeError as error:
            raise ToolError(f"it gave no JSON: {clause(error)}") from None


class ToolCaller:
    """A tool that can be called: `tools.NAME(picture, argument=value)`."""

    def __init__(self, name: str, tool: Tool | None) -> None:
        self._name, self._tool = name, tool

    def __call__(self, image: Picture | None = None, **arguments: Any) -> ToolOutput:
        """Return what the tool gives; boxes and points are in pixels of the image.

        Raises:
            ToolError: it is not here, or it cannot be called so, or it fails.
            VircError: its server cannot be reached.
        """
        branch, began = here(), time.monotonic()
        place = branch.next()
        made = ToolOutput(f"{{{self._name}}}") if branch.run.is_dry else self._called(image, arguments)
        shown = () if image is None else (opened(image).size,)
        output, seconds = (made.text,) * bool(made.text), round(time.monotonic() - began, 3)
        ran = Ran(name=self._name, kind="tool", prompt=text_of(arguments), output=output, shown=shown, seconds=seconds)
        branch.run.add(place, ran, Made(made.images))
        return made

    def _called(self, image: Picture | None, arguments: Mapping[str, Any]) -> ToolOutput:
        if self._tool is None:
            raise ToolError(f"there is no tool of the name {self._name} here")
        pictures = [] if image is None else [opened(image)]
        if {INDEX, BOX, POINT, POINTS} & properties(self._tool).keys() and not pictures:
            raise ToolError(f"{self._name} needs a picture")
        try:
            return _applied(self._tool, {key: each for key, each in arguments.items() if each is not None}, pictures)
        except (ToolError, VircError):
            raise
        except Exception as error:  # a tool of one's own may fail in any way
            raise ToolError(f"{self._name} failed: {type(error).__name__}: {clause(error)}") from error


class Tools:
    def __init__(self, callers: Mapping[str, ToolCaller]) -> None:
        self._callers = callers

    def __getattr__(self, name: str) -> ToolCaller:
        if name not in self._callers:
            raise AttributeError(f"TOOLS has no {name!r}; it has {', '.join(self._callers) or 'none'}")
        return self._callers[name]


def loaded(named: Mapping[str, str], beside: Path) -> dict[str, Tool | None]:
    """Return tools by a pipeline's names; None for one that may be absent (`NAME?`). Raises ConfigError: one is."""
    return {name: _loaded(name, tool.removesuffix("?"), beside, tool.endswith("?")) for name, tool in named.items()}


def _loaded(name: str, tool: str, beside: Path, may_lack: bool) -> Tool | None:
    file = str(beside / tool) if plugins.is_path(tool) else tool
    if may_lack and not (tool in registry.known() or registry.file_of(file, beside)):
        return None
    with naming(f"tool {name!r}"):
        (found,) = registry.load([file], beside)
        if hasattr(registry.get(found), "apply_to_all"):
            raise ConfigError(f"the tool {found!r} is about a whole conversation, and a pipeline cannot call it")
    return registry.get(found)


def _applied(tool: Tool, written: Mapping[str, Any], pictures: list[OpenedImage]) -> ToolOutput:
    sizes = [each.size for each in pictures]
    number = {INDEX: 0} if INDEX in properties(tool) else {}
    call = check_call(tool, {**written, **number}, View(sizes, originals=sizes, float_boxes=True)).call
    made = tool.apply(call, pictures[0].pixels if pictures else None)
    result = made if isinstance(made, Result) else Result(made) if isinstance(made, str) else Result(images=[made])
    if not isinstance(result.text, str):
        raise ToolError(f"its text is {type(result.text).__name__}")
    return ToolOutput(result.text, tuple(OpenedImage(_whole(each)) for each in result.images))


def _whole(made: Image.Image | Rescaled) -> Image.Image:
    """An image of a tool, which of one's own may be anything. Raises ToolError: it is no image with pixels."""
    image: object = made.cut.resize(made.size) if isinstance(made, Rescaled) else made
    if not isinstance(image, Image.Image) or 0 in image.size:
        raise ToolError(f"it returned {type(made).__name__} where a text or an image with pixels is due")
    return image.convert("RGB")
