"""Trajectories with boxes in other coordinates, on other images, or as another system would have written them.

`change.py` chooses one of four ways, from the least change to the greatest: `shrunk` makes images smaller, `recoded`
writes boxes in other coordinates, `regenerated` also lets a session show all images and user turns again, `reworded`
writes every reply again, with the tools and the grammar of another system (`Rewording`).
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from virc.core.errors import DataError, errors_as
from virc.core.text import clause, plain
from virc.data.live import displayed, session_of
from virc.data.rows.boxes import with_boxes_for
from virc.data.rows.record import Message, Picture, Record, file_sizes_field, file_sizes_of, images_of, inputs_of
from virc.data.rows.results import joined
from virc.data.rows.sizes import Spoken, display_sizes
from virc.data.steps import StepCall, StoredWalk, read_turns
from virc.reasoning.bodies import POINT, POINTS
from virc.reasoning.calls import Call, Point, Region, Size, ToolError, View, view_of
from virc.reasoning.checking import as_written, properties
from virc.reasoning.coordinates import parts_of, resolve_index, scale_box, sides_of, written_as
from virc.reasoning.images import SQUARE, Shown, image_size, show, show_square
from virc.reasoning.messages import FormatError, ToolText, Turn, parse
from virc.reasoning.opening.pictures import open_image
from virc.reasoning.protocol import Protocol
from virc.reasoning.resize import QWEN2, Grid, smart_resize
from virc.reasoning.session import Done, Rejected, Reply, Session
from virc.reasoning.writing import written
from virc.scoring.boxes import boxes_of_row, further_boxes
from virc.scoring.score import final
from virc.tools import registry as tools

_CALL = "<tool_call>"
_BOX = re.compile(r'"bbox_2d"\s*:\s*\[' + r"\s*,".join([r"\s*(-?\d+)"] * 4) + r"\s*\]")
_BOXED = r"\boxed{}"
"""A chat protocol whose first turn has it wants answers in such a box."""
_MAX_TURNS = 256  # of a trajectory that is made of a problem: more than boxes of a row
_KEY = r"""["'](?:\w*(?:box|point|polygon|coord)\w*|Position)["']\s*:\s*\["""
_WRITTEN = re.compile(rf"(?:{_KEY}|<\|box_start\|>|<point>|start_box)[^\]<]{{1,60}}\]?")
DIGITS = 4  # behind the point, of boxes in parts of the sides


class Boxes(msgspec.Struct):
    """What rewriting boxes did to them.

    Args:
        written: boxes in all.
        inexact: those that differ after they are converted back to the first coordinates.
        error: the largest such difference of a coordinate, in the unit of the first coordinates.
    """

    written: int = 0
    inexact: int = 0
    error: int = 0

    def add(self, other: "Boxes") -> None:
        self.written += other.written
        self.inexact += other.inexact
        self.error = max(self.error, other.error)


def recoded(record: Record, source: Protocol, target: Protocol, boxes: Boxes) -> Record:
    """A record with boxes and system message in another protocol. Raises DataError: it is not in the source's."""
    messages = []
    for number, message, before in _with_views(record, source):
        content = message.content
        with errors_of(number):
            if message.role == "assistant":
                after = msgspec.structs.replace(before, coordinates=target.coordinates)
                content = rewritten(content, before, after, boxes)
            elif message.role == "system":
                if content != source.system:
                    raise FormatError("tags", "the system message is not that of the chat protocol")
                content = target.system
        messages.append(Message(message.role, content))
    return msgspec.structs.replace(record, messages=tuple(messages))


def regenerated(
    record: Record, question: str, source: Protocol, target: Protocol, boxes: Boxes, grid: Grid | None = None
) -> Record:
    """A trajectory, or a problem alone, replayed from its inputs: boxes scaled, images and user turns made again."""
    messages, session = [*_with_views(record, source)], new_session(record, question, target, grid)
    for number, message, before in messages:
        if message.role == "assistant":
            with errors_of(number):
                _feed(session, message.content, before, boxes)
    return finished(session, record, grid)


def rewritten(text: str, before: View, after: View, boxes: Boxes) -> str:
    """A turn with its box in the coordinates of `after`, which shows the same images; no other byte changes."""
    tool = parse(text).tool
    if tool is None or not {"bbox_2d", POINT, POINTS} & tool.arguments.keys():
        return text
    index, _ = resolve_index(tool.arguments.get("image_index"), len(before.sizes))
    # (width, height) that the numbers of a box are counted in, before and after
    sides, onto = _sides(before, index), _sides(after, index)
    if "bbox_2d" not in tool.arguments:
        if sides != onto:
            raise ToolError(f"the points of {tool.name} cannot be counted in {onto[0]} x {onto[1]}: only boxes can")
        return text
    box = tool.arguments["bbox_2d"]
    found = list(_BOX.finditer(text, text.index(_CALL)))
    if len(found) != 1 or [int(number) for number in found[0].groups()] != box:
        raise FormatError("json", "bbox_2d is not written as four whole numbers")
    new = scale_box(box, sides, onto)
    if box[0] < box[2] and box[1] < box[3] and (new[0] >= new[2] or new[1] >= new[3]):
        raise ToolError(f"bbox_2d {box} of {sides[0]} x {sides[1]} is empty in {onto[0]} x {onto[1]}")
    scaled_back = scale_box(new, onto, sides)
    error = max(abs(old - back) for old, back in zip(box, scaled_back, strict=True))
    boxes.add(Boxes(1, int(error > 0), error))
    for place in (4, 3, 2, 1):  # from the end, so that the positions before stay valid
        text = text[: found[0].start(place)] + str(new[place - 1]) + text[found[0].end(place) :]
    return text


def _sides(view: View, index: int) -> Size:
    original = view.originals[index] if index < len(view.originals) else None
    return sides_of(view.sizes[index], view.coordinates, original)


def files_of(record: Record) -> list[Size]:
    """(width, height) in px of the file of every input, which the row may have smaller; raises DataError."""
    inputs = [image_size(*_file(record.images[index])) for index in inputs_of(record)]
    return [*(file_sizes_of(record) or inputs)]


def shown_sizes(record: Record, protocol: Protocol) -> list[Size]:
    """(width, height) in px of each image as it is shown, by its file's header; DataError where one cannot be read."""
    files = [image_size(*_file(picture)) for picture in record.images]
    return [size for size in display_sizes(record, files, Spoken(protocol)) if size]


def _with_views(record: Record, source: Protocol) -> Iterator[tuple[int, Message, View]]:
    """The messages, counted from 1, with what had been shown before each."""
    seen, sizes, files = 0, shown_sizes(record, source), files_of(record)
    for number, (message, indices) in enumerate(zip(record.messages, images_of(record), strict=True), 1):
        yield number, message, view_of(source, sizes[:seen], files)
        seen += len(indices)


def new_session(record: Record, question: str, target: Protocol, grid: Grid | None = None) -> Session:
    record = msgspec.structs.replace(record, question=question)
    return session_of(record, target, grid or QWEN2, _show, max_turns=len(record.messages) or _MAX_TURNS)


def _show(picture: Picture, protocol: Protocol, grid: Grid, place: object, file_size: Size | None) -> Shown:
    image = open_image(*_file(picture))
    if protocol.images == "square_1000":  # the square is stored, and becomes the file that crops are cut from
        image = show_square(image).pixels
    return displayed(image, protocol, grid, file_size)


def _feed(session: Session, text: str, before: View, boxes: Boxes) -> None:
    if isinstance(session.next(), Done):
        raise ToolError("the row continues after its answer")
    after = session.view
    if len(before.sizes) != len(after.sizes):
        shown, made = len(before.sizes), len(after.sizes)
        raise ToolError(f"{shown} images are shown before it, but question and tools make {made}")
    outcome = session.feed(Reply(rewritten(text, before, after, boxes)))
    if isinstance(outcome, Rejected):
        raise ToolError(outcome.reason)


def finished(session: Session, record: Record, grid: Grid | None = None) -> Record:
    """The record with the messages and images of a session, up to where it ended before.

    Inputs with more pixels than `grid` shows become what was shown of them.
    """
    made = session.trace().messages
    if (made[-1].role == "user" or made[-1].inserted) and record.messages and record.messages[-1].role == "assistant":
        made.pop()
    messages = tuple(joined(made))
    files = files_of(record)
    kept = [session.protocol.images == "smart" and not is_over(size, grid) for size in files]

    def picture_of(index: int, shown: Shown) -> Picture:
        if index >= len(files):  # a tool made it
            return Picture("", data=shown.png)
        return record.images[index] if kept[index] else _made(record.images[index], shown)

    count = sum(len(each.images) for each in made)
    images = tuple(picture_of(index, shown) for index, shown in enumerate(session.images[:count]))
    record = msgspec.structs.replace(record, messages=messages, images=images)
    if session.protocol.images == "square_1000" and files:
        return boxes_scaled(record, files[0], SQUARE)
    if grid is None or all(kept):
        return record
    return sized(record, session.images, session.protocol)


def sized(record: Record, images: Sequence[Shown], protocol: Protocol) -> Record:
    """The record with the sizes of the files of its images; without these, with its boxes in px of what was shown."""
    if sizes := file_sizes_field(images, protocol):  # boxes of the row are in px of those files
        return msgspec.structs.replace(record, extra={**record.extra, **sizes})
    if not images:  # a question without a picture, answered without a tool that finds one
        return record
    first = images[0]
    return boxes_scaled(record, first.original or first.size, first.size)


def with_text_boxes(record: Record, target: Protocol | None, grid: Grid | None) -> Record:
    """The record with the boxes of its texts as they lie on the images that `target` and `grid` make of its own."""
    if not any(message.parts for message in record.messages):
        return record
    files = [image_size(*_file(picture)) for picture in record.images]
    square = inputs_of(record) if target and target.images == "square_1000" else ()
    small = [smart_resize(*size, grid) if grid and is_over(size, grid) else size for size in files]
    sizes = [SQUARE if index in square else size for index, size in enumerate(small)]
    messages = tuple(with_boxes_for(message, sizes) for message in record.messages)
    return msgspec.structs.replace(record, messages=messages)


def check_texts_of_boxes(record: Record, grid: Grid) -> None:
    """Raise DataError: a text, which stays as it is, has a box or point of a picture that becomes smaller."""
    texts = [each.content for each in record.messages if each.role != "system" and not each.parts]
    found = _WRITTEN.search("\n".join(filter(None, (*texts, record.rejected, record.question, record.answer))))
    if found and any(is_over(image_size(*_file(each)), grid) for each in record.images):
        hint = "`<bbox>` with `objects` is scaled; «--protocol» says `coordinates: permille` where they are no pixels"
        raise DataError(f"its picture becomes smaller, and its text has {plain(found[0], 60)} in pixels of it", hint)


def is_over(size: Size, grid: Grid | None) -> bool:
    return grid is not None and size[0] * size[1] > grid.max_pixels


def shrunk(record: Record, grid: Grid) -> Record:
    """The record with its images no larger than the grid shows, and its `boxes` with them; its texts stay."""
    files = [image_size(*_file(picture)) for picture in record.images]
    try:
        images = [
            _made(picture, show(open_image(*_file(picture)), grid)) if is_over(size, grid) else picture
            for picture, size in zip(record.images, files, strict=True)
        ]
    except ValueError as error:
        raise DataError(clause(error)) from None
    record = msgspec.structs.replace(record, images=tuple(images))
    if not files or not is_over(files[0], grid):
        return record
    return boxes_scaled(record, files[0], image_size(*_file(images[0])))


def _made(picture: Picture, shown: Shown) -> Picture:
    name = str(PurePosixPath(picture.name).with_suffix(".png")) if PurePosixPath(picture.name).name else ""
    return Picture(name, data=shown.png)


def boxes_scaled(record: Record, size: Size, onto: Size) -> Record:
    """The record with the boxes of its columns for a first image of other (width, height) in px."""
    if size == onto:
        return record

    def scaled(box: Sequence[float]) -> list[float]:
        return [round(pixel * new / old, 2) for pixel, old, new in zip(box, size * 2, onto * 2, strict=True)]

    lists = {name: further_boxes(record.extra, name) for name in ("looks", "crowd_boxes")}
    lists["box" if record.extra.get("boxes") is None else "boxes"] = boxes_of_row(record.extra) or []
    fields = {name: list(map(scaled, each)) for name, each in lists.items() if each}
    one = {"box": fields["box"][0]} if "box" in fields else {}
    return msgspec.structs.replace(record, extra={**record.extra, **fields, **one})


def _file(picture: Picture) -> tuple[bytes | Path, str]:
    name = picture.name or "an image"
    with errors_as(DataError, f"{name} cannot be read"):
        return (picture.path() if picture.data is None else picture.data), name


def errors_of(number: int) -> AbstractContextManager[None]:
    return errors_as(DataError, f"message {number}", caught=(FormatError, ToolError))


def reworded(record: Record, question: str, source: Protocol, target: Protocol, grid: Grid | None = None) -> Record:
    """A trajectory replayed as another system would have it.

    A call that the target has no tool for is left out, and its thought is put before the next. A call that cuts out a
    part of an image becomes one of the target's tool that does.
    """
    session, sizes, files = new_session(record, question, target, grid), shown_sizes(record, source), files_of(record)
    turns, unread = read_turns(record, source.grammar)
    spoken, offered = Spoken(source, source.coordinates), tools.offered(source.tools)
    walk, rewording = StoredWalk(record, turns, spoken, sizes, files, offered), Rewording(session, sizes)
    for step in walk:
        with errors_of(step.at + 1):
            if step.turn:
                rewording.add_turn(step.turn, step.calls, spoken.shows_errors)
            elif not spoken.shows_errors or unread[step.at].kind != "json":
                raise unread[step.at]
        assert walk.history  # each image opens
        rewording.resync(walk.history.sizes)
    return finished(session, record, grid)


class Rewording:
    """A session that gets the turns of a record, whose images are shown at `sizes`: (width, height) in px."""

    def __init__(self, session: Session, sizes: Sequence[Size]) -> None:
        self._session, self._target, self._sizes = session, session.protocol, dict(enumerate(sizes))
        # number of an image in the record -> its index in the session, if a tool of the target makes it
        self._places = {index: index for index in range(len(session.images))}
        self._thoughts, self._pending = list[str](), list[tuple[ToolText, StepCall]]()  # of the turn to write

    def resync(self, sizes: Sequence[Size]) -> None:
        """Go on after the images that the record shows, of these sizes; what else its calls made is forgotten."""
        self._sizes = dict(enumerate(sizes))
        self._places = {number: at for number, at in self._places.items() if number in self._sizes}

    def add_turn(self, turn: Turn, calls: Iterable[StepCall], shows_errors: bool) -> None:
        """Add a turn, divided if the target allows fewer calls; without wrong ones where the record shows errors."""
        self._thoughts.append(turn.think)
        if not turn.calls:
            boxed = _BOXED in self._target.first and final(turn.answer or "") is None
            self._feed(rf"\boxed{{{turn.answer}}}" if boxed else turn.answer)
        for each in calls:
            if each.call:
                self._add_call(each, each.call)
            elif not shows_errors:
                raise ToolError(str(each.error))
        if self._pending:
            self._feed()

    def _add_call(self, each: StepCall, call: Call) -> None:
        """The call by the target's tool of that name, else by one that cuts where it cuts; none without such a tool."""
        is_full = len(self._pending) == self._target.grammar.most_calls
        if is_full or any(call.index in other.numbers for _, other in self._pending):
            self._feed()
        candidates = [call.name, *(filter(tools.cuts, self._target.tools) if tools.cuts(call.name) else ())]
        if name := next((other for other in candidates if other in self._target.tools), None):
            self._pending.append((self._call(call, name), each))
        self._sizes |= {number: made.size for number, made in zip(each.numbers, each.made or (), strict=False)}

    def _feed(self, answer: str | None = None) -> None:
        if isinstance(self._session.next(), Done):
            raise ToolError("the row continues after its answer")
        turn = Turn(" ".join(filter(None, self._thoughts)), tuple(call for call, _ in self._pending), answer)
        outcome = self._session.feed(Reply(written(turn, self._target.grammar)))
        if isinstance(outcome, Rejected):
            raise ToolError(outcome.reason)
        for (_, each), result in zip(self._pending, outcome.results, strict=False):
            self._places |= zip(each.numbers, result.images, strict=False)
        self._thoughts, self._pending = [], []

    def _call(self, call: Call, name: str) -> ToolText:
        """The call of the target's tool `name`, with its image numbers and coordinates."""
        known = properties(tools.get(name))
        arguments: dict[str, Any] = {key: value for key, value in call.arguments.items() if key in known}
        if call.index is None:
            return ToolText(name, arguments)
        if (index := self._places.get(call.index)) is None:
            raise ToolError(f"it needs image {call.index}, which no tool of this system makes")
        arguments["image_index"] = index
        size, sides = self._sizes[call.index], _sides(self._session.view, index)
        if call.box is not None and "bbox_2d" in known:  # the window around a point follows from the point
            arguments["bbox_2d"] = self._box(call.region or parts_of(call.box, size), sides)
        if call.points:
            points = [self._point(point, size, sides) for point in call.points]
            arguments |= {POINT: points[0]} if POINT in known else {POINTS: points}
        if call.factor is not None:
            arguments["scale_factor"] = call.factor
        return ToolText(name, as_written(tools.get(name), arguments, self._session.view))

    def _point(self, point: Point, size: Size, sides: Size) -> list[float]:
        new = [(at + 0.5) * side / pixels for at, pixels, side in zip(point, size, sides, strict=True)]
        return [round(at, DIGITS) if self._target.coordinates == "unit" else int(at) for at in new]

    def _box(self, parts: Region, sides: Size) -> list[float]:
        digits = DIGITS if self._target.coordinates == "unit" else None
        new = [part * side for part, side in zip(parts, sides * 2, strict=True)]
        return [round(c, digits) for c in written_as(new, self._target.box)]
