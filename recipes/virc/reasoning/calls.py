"""The interface of a tool: a call, the view it is checked against, and the result of the check."""

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import msgspec

from virc.reasoning.protocol import BoxForm, Coordinates

if TYPE_CHECKING:
    from PIL import Image

    from virc.reasoning.resample import Rescaled

AnyTool = TypeVar("AnyTool")

Size = tuple[int, int]
Box = tuple[int, int, int, int]


class ToolError(ValueError):
    """The call cannot be carried out under any reading; the message says why in one clause."""


class View(msgspec.Struct, frozen=True):
    """What the model has seen, and what its boxes mean.

    Args:
        sizes: (width, height) in pixels of every image as shown, oldest first.
        coordinates, box: as in `Protocol`.
        originals: (width, height) in pixels of the files of the inputs, which come first; none: they were shown as
            they are.
    """

    sizes: Sequence[Size]
    coordinates: Coordinates = "pixel"
    box: BoxForm = "corners"
    originals: Sequence[Size] = ()


class Call(msgspec.Struct, frozen=True):
    """A checked call: `index` >= 0 into the history, `box` in pixels of that image as shown."""

    name: str
    index: int
    box: Box | None = None
    factor: float | None = None


class Checked(msgspec.Struct, frozen=True):
    """The call and the names of what was forgiven to read it so (`box_clamped`, `factor_snapped`)."""

    call: Call
    deviations: tuple[str, ...] = ()


class Tool(Protocol):
    """A visual tool; a module of `virc.tools` is one, and so is a user's own file.

    Attributes:
        NAME: what the model writes.
        SCHEMA: Qwen/Hermes function schema; "{unit}" in it becomes the coordinate convention.
        TEMPLATE: which turn sentence of the chat protocol follows its result: "after_image" or "after_scale".
    """

    NAME: str
    SCHEMA: dict[str, Any]
    TEMPLATE: str

    def check(self, arguments: Mapping[str, object], view: View) -> Checked:
        """The checked call; raises ToolError where no reading of the call makes sense."""

    def apply(self, call: Call, source: "Image.Image") -> "Image.Image | Rescaled":
        """The image that the call makes of its source, or the size that it wants of it."""


def find_tool(known: Mapping[str, AnyTool], name: str, offered: Collection[str] | None = None) -> AnyTool:
    """The tool of that name, of those offered (None: of all known); raises ToolError naming them."""
    names = [each for each in sorted(known) if offered is None or each in offered]
    if name not in names:
        raise ToolError(f"there is no tool {name[:40]!r}; there are: {', '.join(names) or 'none'}")
    return known[name]


def require_keys(arguments: Mapping[str, object], *names: str) -> None:
    """Raise ToolError unless the arguments are exactly those named."""
    if set(arguments) != set(names):
        raise ToolError(f"the arguments must be exactly {' and '.join(names)}")
