"""The interface of a tool: a call, the view it is checked against, and the result of the check."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import msgspec

from virc.core.text import plain
from virc.reasoning import protocol as chat
from virc.reasoning.protocol import BoxForm, Coordinates
from virc.reasoning.resize import QWEN2, Grid

if TYPE_CHECKING:
    from PIL import Image

    from virc.reasoning.resample import Rescaled

AnyTool = TypeVar("AnyTool")

Size = tuple[int, int]
Box = tuple[int, int, int, int]
Region = tuple[float, float, float, float]
Point = tuple[int, int]


INDEX_SCHEMA: Mapping[str, Any] = {"type": "integer", "description": "which image, 0 is the first"}
"""The schema of `image_index`."""


def function_schema(name: str, description: str, required: Sequence[str], **properties: Any) -> dict[str, Any]:
    """Return the schema of a tool as Qwen and Hermes have it.

    Args:
        required: names of the arguments that every call has.
        properties: the JSON schema of each argument, in the order in which a model reads them.
    """
    parameters = {"type": "object", "properties": properties, "required": list(required)}
    return {"type": "function", "function": {"name": name, "description": description, "parameters": parameters}}


def numbers_schema(count: int, description: str) -> dict[str, Any]:
    """Return the JSON schema of a list of `count` whole numbers: a point, or a box."""
    numbers = {"type": "array", "items": {"type": "integer"}, "minItems": count, "maxItems": count}
    return {**numbers, "description": description}


class ToolError(ValueError):
    """The call cannot be carried out under any reading.

    Args:
        message: why, in one clause.
        kind: which fault it is, where a chat protocol may have a text of its own for it.
        values: what that text may name.
    """

    def __init__(self, message: str, kind: "chat.ErrorKind | None" = None, **values: object) -> None:
        super().__init__(message)
        self.kind, self.values = kind, values


class BoxView(msgspec.Struct, frozen=True):
    """What boxes are counted in.

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


class View(BoxView, frozen=True):
    """What the model has seen, and what its boxes and the numbers of images mean.

    Args:
        inputs: how many of the images are the question's; None: all of `originals`, or one.
        float_boxes, index_counts, crops: as in `Protocol`.
    """

    inputs: int | None = None
    float_boxes: bool = False
    index_counts: chat.IndexCounts = "all"
    crops: chat.Crops = "shown"

    @property
    def given(self) -> int:
        inputs = self.inputs if self.inputs is not None else len(self.originals) or 1
        return min(inputs, len(self.sizes))


def view_of(
    protocol: chat.Protocol, sizes: Sequence[Size], originals: Sequence[Size] = (), inputs: int | None = None
) -> View:
    return View(
        sizes, protocol.coordinates, protocol.box, originals, inputs, protocol.float_boxes, protocol.index_counts,
        protocol.crops,
    )  # fmt: skip


class Call(msgspec.Struct, frozen=True):
    """A checked call.

    Args:
        name: of the tool.
        index: of the image it is applied to, >= 0, into the history; None of a tool that takes none.
        box: of a tool that takes one, in pixels of that image as shown.
        factor: of a tool that scales.
        region: the box as parts of the sides of the image (left, top, right, bottom), before it was rounded to pixels;
            None: as `box` says.
        margin: how much more than the box is cut out at each side, in parts of its own sides.
        arguments: what else the tool takes, by its JSON schema.
        points: of a tool that takes some, x and y in pixels of that image as shown.
    """

    name: str
    index: int | None = None
    box: Box | None = None
    factor: float | None = None
    region: Region | None = None
    margin: float = 0
    arguments: Mapping[str, Any] = {}
    points: tuple[Point, ...] = ()


class Checked(msgspec.Struct, frozen=True):
    """The call and the names of what was forgiven to read it so (`box_clamped`, `factor_snapped`)."""

    call: Call
    deviations: tuple[str, ...] = ()


class Result(msgspec.Struct, frozen=True):
    """What a tool returns that does not return one image: a text, images, or both."""

    text: str = ""
    images: Sequence["Image.Image | Rescaled"] = ()
    shown: Sequence[Any] = ()  # of a tool that is about no image: `images.Shown`s, ready for the model


class Conversation(msgspec.Struct, frozen=True):
    """What a tool is given that is about all images: one that has `apply_to_all(call, conversation)`.

    Args:
        protocol: of the model.
        images: as tools get them, oldest first: the pixels of the picture's file, or those shown, as the protocol says.
        inputs: how many of them are the question's.
        shown: the same as the model sees them (`images.Shown`), on `grid`, with their places in clips and documents.
        kept: what tools keep for this problem, by their names. A reply that is drawn again takes back what its calls
            have put there, so that values are replaced, never changed.
    """

    protocol: chat.Protocol
    images: "Sequence[Callable[[], Image.Image]]"
    inputs: int
    kept: dict[str, Any]
    shown: Sequence[Any] = ()
    grid: Grid = QWEN2


class Tool(Protocol):
    """A visual tool; a module of `virc.tools` is one, and so is a user's own file.

    Attributes:
        NAME: what the model writes.
        SCHEMA: Qwen/Hermes function schema; "{unit}" in it becomes the coordinate convention.
        TEMPLATE: which turn sentence of the chat protocol follows its result: "after_image" or "after_scale".

    A tool without a `check` takes what its schema allows: `image_index` and `bbox_2d` are resolved as those of every
    tool, and `Call.arguments` has the rest.

    A tool whose model writes images or boxes in another way than as a number and a list of four has two more functions.
    `read(arguments, view)` returns the arguments as all tools have them, before they are checked, and raises ToolError
    where it cannot; `write(arguments, view)` is the other way round, for rows that are converted and for examples.
    `CUTS = True` says that it cuts a box out, so that a conversion may put it in place of another that does.
    One that is about all images has `apply_to_all(call, conversation)` in place of `apply`; its calls have no index.
    """

    NAME: str
    SCHEMA: dict[str, Any]
    TEMPLATE: str

    def check(self, arguments: Mapping[str, object], view: View) -> Checked:
        """The checked call; raises ToolError where no reading of the call makes sense."""

    def apply(self, call: Call, source: "Image.Image | None") -> "Image.Image | Rescaled | Result | str":
        """What the call makes: an image, the part or size that it wants of its source, a text, or several of them.

        Args:
            call: with the box in pixels of `source`.
            source: the image that the call is about; None where it is about none.
        """


def find_tool(known: Mapping[str, AnyTool], name: str, offered: Collection[str] | None = None) -> AnyTool:
    if name in known and (offered is None or name in offered):
        return known[name]
    names = ", ".join(each for each in sorted(known) if offered is None or each in offered) or "none"
    raise ToolError(f"there is no tool {name[:40]!r}; there are: {names}", "tool", name=name[:200])


def require_keys(arguments: Mapping[str, object], *names: str) -> None:
    """Raise ToolError unless the arguments are exactly those named."""
    lacks = [f"the call has no {name}" for name in names if name not in arguments]
    others = [f"the tool takes no {plain(name, 40)}" for name in arguments if name not in names]
    if lacks or others:
        raise ToolError(" and ".join((*lacks, *others[:3])), "arguments")
