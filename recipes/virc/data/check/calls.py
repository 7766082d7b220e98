"""Whether the calls of a conversation can be carried out, and whether what follows a call is what it makes.

`check_calls` walks through the messages of a row, carries the calls of each turn out on images without colours
(`_Replay`), and compares the images behind them with these. The tool checks are those of inference; here no deviation
is forgiven.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import NamedTuple

import msgspec
from PIL import Image, ImageChops, ImageStat

from virc.core.errors import DataError
from virc.core.text import plain
from virc.data.check.images import RowImages
from virc.data.check.result import Fault, Rules
from virc.data.check.turns import Located, Reply
from virc.data.rows.boxes import Sizes
from virc.data.rows.record import Picture, Record, images_of
from virc.reasoning.bodies import ToolText
from virc.reasoning.calls import Box, Call, Result, Size, Tool, find_tool
from virc.reasoning.checking import DEVIATIONS, check_call, units_of_box
from virc.reasoning.history import History, Place
from virc.reasoning.images import OpenedImage, Shown
from virc.reasoning.opening.pictures import open_image
from virc.reasoning.protocol import PICTURES, Protocol
from virc.reasoning.resample import STAND_IN, Rescaled, resampled
from virc.reasoning.resize import Grid, smart_resize
from virc.tools import registry as tools

_CUT = {
    field.name: field.default
    for field in msgspec.structs.fields(Protocol)
    if field.name in PICTURES and field.name not in ("images", "input_pixels")
}
"""How pictures that calls cut out are made, by default."""
_SIDE, _MAX_APART = 64, 8.0
"""px and levels of 255: a crop and its place in the file, both this small, differ by no more on the average."""


class _CallImage(NamedTuple):
    """An image that a call makes.

    Args:
        size: (width, height) in px as shown on the patch grid.
        made: the same before that: sets without a patch grid show it so.
        place: the part of an input's file that it shows, if it shows one.
    """

    size: Size
    made: Size
    place: Place | None = None


def offered(rules: Rules) -> Mapping[str, Tool]:
    known = tools.known()
    names = sorted(known) if rules.protocol is None else rules.protocol.tools
    if not known.keys() >= set(names):  # rows are checked in processes of their own
        tools.load(names, of_chat_protocol=True)
        tools.check_loaded(names, "the chat protocol of the rows")
        known = tools.known()
    return {name: known[name] for name in names}


def check_calls(
    record: Record, replies: Sequence[Reply], images: RowImages, rules: Rules, checked: int
) -> tuple[list[Located], list[tuple[bool, bool]]]:
    """The faults of calls in the first `checked` messages, and `units_of_box` of the boxes in all.

    After an image that does not open, calls and what they make stay unchecked.
    """
    faults, units, before = list[Located](), list[tuple[bool, bool]](), 0
    calling, known = {each.at: each for each in replies if each.turn and each.turn.calls}, tools.known()
    replay = _Replay(record, images, rules) if checked else None
    called: tuple[int, Sequence[_CallImage] | None] | None = None  # the turn before, and what its calls make
    for at, (message, indices) in enumerate(zip(record.messages, images_of(record), strict=True)):
        # marks beyond the images count as unknown
        seen = [images.shown[index] if index < len(images.shown) else None for index in range(before + len(indices))]
        reply, history, before = calling.get(at), seen[:before], len(seen)
        if replay and at < checked:
            if called and message.role == "user":
                faults += ((at, each) for each in _check_sizes(*called, seen[len(history) :]))
                faults += ((at, each) for each in _check_pixels(*called, record.images[len(history) :], replay))
            replay.follow(seen)
            called = None
            if reply and reply.turn:
                found, made = replay.check(reply.turn.calls, reply.number, history)
                faults += ((at, each) for each in found)
                called = reply.number, made
        if reply and reply.turn:
            units += units_of_box(known, reply.turn.tool, history)
    return faults, units


def _check_sizes(number: int, made: Sequence[_CallImage] | None, shown: Sizes) -> Iterator[Fault]:
    if made is None:
        return
    if len(shown) != len(made):
        wanted = "one" if len(made) == 1 else str(len(made))
        sentence = f"after the call of turn {number} there are {len(shown)} images, not {wanted}"
        yield Fault("result_differs", sentence)
        return
    for there, expected in zip(shown, made, strict=True):
        if there and there not in (expected.size, expected.made):
            is_, would = (f"{width} x {height} px" for width, height in (there, expected.size))
            sentence = f"the call of turn {number} makes {would}, the image after it has {is_}"
            yield Fault("result_differs", sentence)


def _check_pixels(
    number: int, made: Sequence[_CallImage] | None, pictures: Sequence[Picture], replay: "_Replay"
) -> Iterator[Fault]:
    for picture, each in zip(pictures, made or (), strict=False):
        if each.place is None:
            continue
        apart = replay.difference(picture, each.place)
        if apart > _MAX_APART:
            left, top, right, bottom = each.place.box
            where = f"{left},{top} to {right},{bottom} of the file"
            sentence = f"the image after the call of turn {number} is not what it cuts out, {where}: "
            yield Fault("result_differs", f"{sentence}they differ by {apart:.0f} levels of 255 on the average")


class _Replay:
    """What the calls of a row make: its sizes, on images without colours, and where crops of the file lie in that."""

    def __init__(self, record: Record, images: RowImages, rules: Rules) -> None:
        self._rules, self._tools = rules, offered(rules)
        self._inputs = [record.images[index] for index in images.inputs]
        self._opened: dict[int, Image.Image] = {}
        self._history: History | None = None
        self._unplaced = set[int]()  # indices of images that calls show, of which only the row says what they are
        inputs = images.input_files
        self._files = [size for size in inputs if size]
        # the row has the files, not what was shown of them
        self._rows_have_files = list(inputs) == [images.files[index] for index in images.inputs]
        protocol = rules.protocol
        # else crops are the pixels in the box, as shown on the grid
        if protocol and any(getattr(protocol, name) != default for name, default in _CUT.items()) and all(inputs):
            with suppress(ValueError):
                opened = [OpenedImage(Image.new(STAND_IN, size)) for size in inputs if size]
                self._history = History(opened, protocol, rules.grid, tools.known())

    def check(
        self, calls: Sequence[ToolText], number: int, history: Sizes
    ) -> tuple[list[Fault], Sequence[_CallImage] | None]:
        """The faults of the calls of a turn, and what they make, None where that is not known."""
        sizes = [size for size in history if size]
        if len(sizes) < len(history):
            return [], None
        faults, made, is_known = list[Fault](), list[_CallImage](), True
        for tool in calls:
            try:
                view = self._rules.view([*sizes, *(each.size for each in made)], self._files)
                found = check_call(find_tool(self._tools, tool.name), tool.arguments, view)
                more = self._images_of(found.call, view.sizes)
            except ValueError as error:  # a ToolError, or a result too long to be shown
                if not self._rules.shows_errors:
                    faults.append(Fault("tool", f"turn {number}: {plain(error)}"))
                    made, is_known = [], False
                continue
            is_known = is_known and more is not None
            made = [*made, *(more or ())] if is_known else []
            if not self._rules.shows_errors:
                faults += (Fault(name, f"turn {number}: {DEVIATIONS.get(name, name)}") for name in found.deviations)
        return faults, made if is_known else None

    def _images_of(self, call: Call, sizes: Sequence[Size]) -> Sequence[_CallImage] | None:
        """What a call makes of the images so far; None: that is not known. Raises ValueError: it cannot be shown."""
        tool = self._tools[call.name]
        by_schema = not hasattr(tool, "check")
        if call.index is None or (by_schema and call.box is None) or hasattr(tool, "server"):
            # What it says depends on what it sees.
            return None
        if self._history is None:
            size = sizes[call.index]
            if call.arguments:
                return _apply(call, size, self._rules.grid)
            return _apply_cached(call.name, call.box, call.factor, size, self._rules.grid)
        if self._history.protocol.crops == "file" and call.index in self._unplaced:
            return None  # its file may be larger than what was shown of it
        _, planned = self._history.planned(call)
        for each in planned:
            self._history.add(Shown(Image.new(STAND_IN, each.size)), each.place)
        of_file = [each.place and self._rows_have_files and each.place.root < len(self._inputs) for each in planned]
        return [
            _CallImage(each.size, each.made.size, each.place if known else None)
            for each, known in zip(planned, of_file, strict=True)
        ]

    def follow(self, sizes: Sizes) -> None:
        history = self._history
        if history is None or not all(sizes):
            self._history = None
            return
        known = max(len(sizes), history.inputs)
        del history.images[known:], history.places[known:]
        self._unplaced = {index for index in self._unplaced if index < known}
        for size in sizes[len(history.images) :]:
            assert size
            self._unplaced.add(len(history.images))
            history.add(Shown(Image.new(STAND_IN, size)), None)

    def difference(self, picture: Picture, place: Place) -> float:
        """How far an image is from what its place in the file shows: levels of 255, on the average; 0: not known."""
        try:
            if place.root not in self._opened:
                root = self._inputs[place.root]
                self._opened[place.root] = open_image(root.read(), root.name)
            shown = open_image(picture.read(), picture.name)
        except (OSError, DataError):
            return 0.0  # reported for the image itself
        size = (min(_SIDE, shown.width), min(_SIDE, shown.height))
        cut = resampled(Rescaled(self._opened[place.root], shown.size, place.box), shown.size)
        both = (each.resize(size, Image.Resampling.BOX) for each in (cut, shown))
        means = ImageStat.Stat(ImageChops.difference(*both)).mean
        return float(sum(means) / len(means))


@lru_cache(4096)
def _apply_cached(name: str, box: Box | None, factor: float | None, size: Size, grid: Grid) -> Sequence[_CallImage]:
    return _apply(Call(name, 0, box, factor), size, grid)


def _apply(call: Call, size: Size, grid: Grid) -> Sequence[_CallImage]:
    made = tools.get(call.name).apply(call, Image.new(STAND_IN, size))
    if isinstance(made, str):
        return []
    images = made.images if isinstance(made, Result) else (made,)
    return [_CallImage(smart_resize(*each.size, grid), each.size) for each in images]
