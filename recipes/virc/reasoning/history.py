"""The images of a conversation, and what tool calls make of them.

A crop is cut from the pixels of the picture's file, or from those that were shown, as the chat protocol says. Both are
one computation: an image whose pixels are kept is a root (a picture of the question, say), every image has a `Place`,
the part of a root's pixels that it shows, and a box on the image is mapped onto the root's pixels. `History.run`
carries out a call: `planned` has the tool make images and finds their places and sizes, `shown` resizes them.
"""

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from PIL import Image

from virc.core.errors import ConfigError, VircError
from virc.core.text import clause
from virc.reasoning.calls import Box, Call, Conversation, Point, Region, Result, Size, Tool, ToolError, View, view_of
from virc.reasoning.checking import place_of
from virc.reasoning.coordinates import parts_of
from virc.reasoning.images import OpenedImage, Shown, as_shown, from_pillow, of_file, show, show_square
from virc.reasoning.media import number_frame
from virc.reasoning.protocol import Edges, ErrorKind, Protocol
from virc.reasoning.resample import STAND_IN, Rescaled, StandIn, resampled
from virc.reasoning.resize import MAX_PIXELS, QWEN2, Grid, smart_resize

Made = Image.Image | Rescaled
OF_THIS_PACKAGE = "virc.tools."
"""Prefix of the modules of this package's tools, which never draw on the pixels that they are given."""
_LAST_BITS = 1e-9


class Place(msgspec.Struct, frozen=True):
    """What an image shows."""

    root: int  # index of the image that holds the pixels
    box: Box  # the part of those pixels (left, top, right, bottom)
    size: Size  # (width, height) in pixels that this part counts as: more than it has if a tool enlarged it


class Planned(msgspec.Struct, frozen=True):
    """An image that a call makes, before it is resized to be shown."""

    made: Made  # its pixels; or a part of its source's pixels, and the size that the tool wants
    place: Place | None  # what it shows; None: it is a root of its own
    size: Size  # (width, height) in pixels that it is shown at
    shown: Shown | None = None  # as the tool itself shows it
    is_same: bool = False  # it is its source, unchanged and at the same size


def show_input(image: Image.Image | OpenedImage, protocol: Protocol, grid: Grid = QWEN2) -> Shown:
    file = image if isinstance(image, OpenedImage) else from_pillow(image)
    shown = show_square(file) if protocol.images == "square_1000" else show(file, input_grid(protocol, grid))
    shown.rendering = file.rendering
    if protocol.crops == "file" and (shown.size != file.size or shown.pixels is not file.pixels):
        shown.cut_from(file.data or file.pixels)
    return shown


def input_grid(protocol: Protocol, grid: Grid) -> Grid:
    return _within(grid, protocol.input_pixels)


def as_shown_on(protocol: Protocol, grid: Grid) -> Protocol:
    """A chat protocol that cuts from files, with the sizes at which a model of that grid is shown images."""
    if protocol.crops == "shown":
        return protocol
    inputs, crops = input_grid(protocol, grid), _within(grid, protocol.crop_pixels)
    return msgspec.structs.replace(
        protocol, input_pixels=(inputs.min_pixels, inputs.max_pixels), crop_pixels=(crops.min_pixels, crops.max_pixels)
    )


class History:
    """The images shown, oldest first, and what calls make of them.

    Args:
        images: of the question.
        protocol: how images are shown and cut.
        grid: the patch grid the model sees images on.
        tools: by name.

    Raises:
        ValueError: an image cannot be shown.
    """

    def __init__(
        self,
        images: Sequence[Image.Image | OpenedImage | Shown],
        protocol: Protocol,
        grid: Grid,
        tools: Mapping[str, Tool],
    ) -> None:
        self.protocol, self.grid, self.tools = protocol, grid, tools
        self.images = [each if isinstance(each, Shown) else show_input(each, protocol, grid) for each in images]
        for shown in self.images:
            number_frame(shown, protocol)
        self.places = [self._own_place(index, shown) for index, shown in enumerate(self.images)]
        self.inputs = len(self.images)
        self.kept: dict[str, Any] = {}  # what tools keep for this problem

    def copy(self) -> "History":
        other = copy.copy(self)
        other.images, other.places, other.kept = [*self.images], [*self.places], {**self.kept}
        return other

    @property
    def view(self) -> View:
        return view_of(self.protocol, self.sizes, self.originals, self.inputs)

    @property
    def sizes(self) -> list[Size]:
        """(width, height) in pixels of every image as shown."""
        return [shown.size for shown in self.images]

    @property
    def originals(self) -> list[Size]:
        """(width, height) in pixels of the files of the question's images; of an image that a tool made, as shown."""
        return [shown.original or shown.size for shown in self.images]

    def run(self, call: Call) -> tuple[str, list[tuple[Shown, Place | None]]]:
        """What a call makes: a text, and images, each with its place; errors as of `planned`."""
        text, plans = self.planned(call)
        return text, [(self.shown(call, planned), planned.place) for planned in plans]

    def planned(self, call: Call) -> tuple[str, list[Planned]]:
        """The text and the images that a call's tool makes.

        Raises:
            ValueError: an image that it makes cannot be shown, or all of them would hold too many pixels together.
        """
        text, plans = self._planned(call)
        new = (  # a root keeps the pixels that the tool made
            max(planned.size, planned.made.size if planned.place is None else (0, 0), key=math.prod)
            for planned in plans
            if not (planned.shown and planned.shown.place)
        )
        # frames and pages have limits of their own, and are held as files
        made = (each for each in self.images[self.inputs :] if each.place is None)
        held = (max(image.size, image.full_size, key=math.prod) for image in made)
        if sum(map(math.prod, (*new, *held))) > MAX_PIXELS:
            most = f"{MAX_PIXELS // 10**6} million pixels"
            raise ValueError(f"the images made by tools would hold over {most} together")
        return text, plans

    def add(self, shown: Shown, place: Place | None) -> int:
        index = len(self.images)
        number_frame(shown, self.protocol)
        self.images.append(shown)
        self.places.append(place or self._own_place(index, shown))
        return index

    def region(self, index: int) -> Box | None:
        """The pixels of an input's file that an image shows; None where crops are not cut from files."""
        place = self.places[index]
        return place.box if self.protocol.crops == "file" and place.root < self.inputs <= index else None

    def _own_place(self, index: int, shown: Shown) -> Place:
        return Place(index, (0, 0, *shown.full_size), shown.full_size)

    def _planned(self, call: Call) -> tuple[str, list[Planned]]:
        tool = self.tools[call.name]
        if call.index is None:
            returned = applied(tool, call, None, self)
            anew = [Planned(made, None, smart_resize(*made.size, self.grid)) for made in returned.images]
            return returned.text, anew + [Planned(each.pixels, None, each.size, each) for each in returned.shown]
        source, place = self.images[call.index], self.places[call.index]
        is_custom = not getattr(tool, "__name__", "").startswith(OF_THIS_PACKAGE)
        if source.is_elsewhere and getattr(tool, "CUTS", False) and not is_custom:
            pixels: Image.Image = StandIn(source.size)
        else:
            pixels = source.pixels if call.box is None else self._pixels(source, place)
        if call.box is not None:
            box = boxed(call, source.size, place.size, self.protocol)
            call = msgspec.structs.replace(call, box=box, points=_onto(call.points, source.size, place.size))
        given = pixels.copy() if is_custom else pixels  # a custom tool may draw on them
        returned = applied(tool, call, given)
        plans = (plan(made, given, place, call, self.protocol, self.grid) for made in returned.images)
        return returned.text, [self._with_root(planned, given, call, source, is_custom) for planned in plans]

    @property
    def conversation(self) -> Conversation:
        shown = self.protocol.crops == "shown"
        images = [(lambda each=each: each.pixels if shown else each.full) for each in self.images]
        return Conversation(self.protocol, images, self.inputs, self.kept, self.images, self.grid)

    def _pixels(self, source: Shown, place: Place) -> Image.Image:
        """The pixels from which crops of an image are cut, at the size that its place counts as."""
        if self.protocol.crops == "shown":
            return source.pixels
        root = self.images[place.root]
        pixels = Rescaled(root.full, place.size, place.box)
        return resampled(pixels, place.size)

    def _with_root(self, planned: Planned, given: Image.Image, call: Call, source: Shown, is_custom: bool) -> Planned:
        """A plan that says whether the image is its source unchanged, and that is a root if it is no part of a file."""
        made = planned.made
        uncut = made.pixels if isinstance(made, Rescaled) and made.box is None else made
        is_same = uncut is given and not is_custom and call.box is None and planned.size == source.size
        may_be_drawn_on = made is given and is_custom
        is_root = self.protocol.crops == "shown" or source.placeholder is not None or may_be_drawn_on
        return msgspec.structs.replace(planned, is_same=is_same, place=None if is_root else planned.place)

    def shown(self, call: Call, planned: Planned) -> Shown:
        if planned.shown:
            return planned.shown
        if call.index is None:
            return Shown(resampled(planned.made, planned.size), full=self._root_pixels(planned))
        source, made = self.images[call.index], planned.made
        if source.placeholder is not None:
            return self._ablated(call, source, planned)
        if planned.is_same:
            return source.repeated(call.index)
        if source.is_elsewhere and isinstance(made, Rescaled) and made.pixels.mode == STAND_IN:
            return of_file(source.part(made, planned.size), planned.size, call.index, call.box)
        shown = as_shown(resampled(made, planned.size), call.index, call.box, source.is_jpeg)
        shown.cut_from(self._root_pixels(planned))
        return shown

    def _root_pixels(self, planned: Planned) -> Image.Image | None:
        """The pixels that crops of a new root are cut from; None: of an image that is no root, or of those shown."""
        if planned.place or self.protocol.crops == "shown":
            return None
        return planned.made.cut if isinstance(planned.made, Rescaled) else planned.made

    def _ablated(self, call: Call, source: Shown, planned: Planned) -> Shown:
        """What a call makes in an ablation. A crop is cut from the substitute of its source; any other image shows what
        it would, and gets as its substitute what the tool makes of that of its source.
        """
        assert source.placeholder is not None
        if call.box is None:
            placeholder = resampled(applied(self.tools[call.name], call, source.placeholder).images[0], planned.size)
            return Shown(resampled(planned.made, planned.size), call.index, placeholder=placeholder)
        box = boxed(call, source.size, source.placeholder.size, self.protocol)
        cut = Rescaled(source.placeholder, planned.size, box)
        return Shown(resampled(cut, planned.size), call.index, call.box)


def plan(made: Made, pixels: Image.Image, place: Place, call: Call, protocol: Protocol, grid: Grid) -> Planned:
    """The size and place of an image that a tool made of `pixels`, which are at `place`. Raises ValueError: it cannot
    be shown.
    """
    size = smart_resize(*made.size, grid) if call.box is None else crop_size(protocol, grid, made)
    if not isinstance(made, Rescaled) or made.pixels is not pixels or protocol.crops == "shown":
        return Planned(made, place if made is pixels else None, size)
    box = scaled(made.box or (0, 0, *pixels.size), pixels.size, place.box)
    natural = (box[2] - box[0], box[3] - box[1])
    enlarged = min(made.size, size, key=math.prod)  # what a tool enlarges counts as large as it is shown, no more
    return Planned(made, Place(place.root, box, max(natural, enlarged, key=math.prod)), size)


def _onto(points: Sequence[Point], shown: Size, onto: Size) -> tuple[Point, ...]:
    return tuple((x * onto[0] // shown[0], y * onto[1] // shown[1]) for x, y in points)


def boxed(call: Call, shown: Size, onto: Size, protocol: Protocol) -> Box:
    """A call's box on an image of size `shown`, in pixels of an image of size `onto`, which it is cut from, with sides
    as long as the protocol asks for. Raises ToolError: they cannot be.
    """
    assert call.box is not None
    region = call.region or parts_of(call.box, shown)
    as_written = onto == shown and protocol.crops == "shown" and not protocol.float_boxes
    left, top, right, bottom = (
        call.box if as_written else (part * side for part, side in zip(region, onto * 2, strict=True))
    )
    across, down = (right - left) * call.margin, (bottom - top) * call.margin
    sides = (left - across, top - down, right + across, bottom + down)
    grows = protocol.short_boxes == "grow"
    if grows and (grown := _grown(sides, onto, protocol.least_side)):
        return grown
    # Whole pixels that were divided by a side and multiplied again may be just under a whole number, and be rounded
    # down. Boxes in fractions of the image are taken as they were written.
    shift = 0.0 if protocol.coordinates == "unit" or protocol.edges == "round" else _LAST_BITS
    left, top, right, bottom = (side + shift for side in sides)
    box = _in_whole_pixels((left, top, right, bottom), onto, protocol.edges, least=1 if grows else 0)
    least = max(1, protocol.least_side)
    if grows or min(box[2] - box[0], box[3] - box[1]) >= least:
        return box
    size = f"{box[2] - box[0]} x {box[3] - box[1]} px"
    fault: ErrorKind = "short"
    if box[2] <= box[0]:
        fault = "no_width"
    elif box[3] <= box[1]:
        fault = "no_height"
    raise ToolError(f"the box has {size}, and no side may be under {least} px", fault, pixels=list(box))


def _in_whole_pixels(sides: Region, onto: Size, edges: Edges, least: int) -> Box:
    """A box in whole pixels of an image of size `onto`, rounded as the protocol says, at least `least` long."""

    def span(start: float, end: float, length: int) -> tuple[int, int]:
        start, end = max(0.0, start), min(float(length), end)
        end = min(end, length - 1) if edges == "exclusive" else end
        if edges == "round":
            first, last = round(start), round(end)
        else:
            first, last = math.floor(start), math.floor(end) + (edges == "inclusive")
        first = min(first, length - 1)
        return first, min(max(last, first + least), length)

    left, right = span(sides[0], sides[2], onto[0])
    top, bottom = span(sides[1], sides[3], onto[1])
    return left, top, right, bottom


def _grown(sides: Region, onto: Size, least: int) -> Box | None:
    """A box enlarged around its centre by as many times as its shorter side lacks; None where it lacks nothing, or an
    edge of the image leaves it short all the same.

    The rule is that of Qwen's zoom tool (github.com/QwenLM/Qwen-Agent, qwen_agent/tools/image_zoom_in_qwen3vl.py).
    """
    left, top, right, bottom = max(0.0, sides[0]), max(0.0, sides[1]), min(onto[0], sides[2]), min(onto[1], sides[3])
    width, height = right - left, bottom - top
    shortest = min(width, height)
    if shortest >= least or shortest <= 0:
        return None
    across, down = (math.ceil(side * (least / shortest) * 0.5) for side in (width, height))
    x, y = (left + right) / 2, (top + bottom) / 2
    left, right = max(0, math.floor(x - across)), min(onto[0], math.ceil(x + across))
    top, bottom = max(0, math.floor(y - down)), min(onto[1], math.ceil(y + down))
    return (left, top, right, bottom) if min(right - left, bottom - top) > least else None


def scaled(box: Box, size: Size, onto: Box) -> Box:
    """A box of an image of `size`, which shows the box `onto` of a root, in whole pixels of the root, at least one."""

    def span(start: int, end: int, side: int, low: int, high: int) -> tuple[int, int]:
        first, last = (low + round(each * (high - low) / side) for each in (start, end))
        first = min(first, high - 1)
        return first, max(last, first + 1)

    left, right = span(box[0], box[2], size[0], onto[0], onto[2])
    top, bottom = span(box[1], box[3], size[1], onto[1], onto[3])
    return left, top, right, bottom


def crop_size(protocol: Protocol, grid: Grid, made: Made) -> Size:
    """(width, height) in pixels that what was cut out is shown with. Raises ValueError: it cannot be shown."""
    return smart_resize(*made.size, _within(grid, protocol.crop_pixels))


def _within(grid: Grid, bounds: tuple[int, int] | None) -> Grid:
    """A grid with other limits of an image's area, clamped to the model's own. The least is at most half of the most,
    so that a size within the limits is not changed when it is resized again.
    """
    if bounds is None:
        return grid
    least, most = (min(max(each, grid.min_pixels), grid.max_pixels) for each in bounds)
    return msgspec.structs.replace(grid, min_pixels=min(least, most // 2), max_pixels=most)


class ToolFailedError(ConfigError):
    """A tool fails, or returns what is no result."""


def applied(tool: Tool, call: Call, source: Image.Image | None, history: History | None = None) -> Result:
    """What a tool makes. Raises ToolError: the tool says why it cannot; ToolFailedError: it fails."""
    try:
        to_all = getattr(tool, "apply_to_all", None) if history else None
        returned: object = to_all(call, history.conversation) if to_all and history else tool.apply(call, source)
    except (ToolError, VircError):
        raise
    except Exception as error:
        hint = "`source` is None if the tool's SCHEMA has no image_index" if source is None else None
        fault = f"the tool {call.name} fails{place_of(error)}: {type(error).__name__}: {clause(error)}"
        raise ToolFailedError(fault, hint) from error
    if isinstance(returned, str):
        return Result(returned)
    result = returned if isinstance(returned, Result) else Result(images=(returned,))  # type: ignore[arg-type]
    if not isinstance(result.text, str) or not all(isinstance(each, Image.Image | Rescaled) for each in result.images):
        what = type(returned).__name__ if returned is not None else "nothing"
        hint = "each path through its apply() ends with `return`" if returned is None else None
        sentence = f"the tool {call.name} returns {what}, and not an image, a text, or a Result of both"
        raise ToolFailedError(sentence, hint)
    is_size = source is not None and source.mode == STAND_IN
    images = [each if is_size or isinstance(each, Rescaled) else from_pillow(each).pixels for each in result.images]
    return msgspec.structs.replace(result, images=images)
