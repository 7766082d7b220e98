"""Whether assistant turns are what they must be, and whether what follows a tool call is what it makes.

`check` begins here: it walks through the messages of a row, reads each turn of the assistant, carries its calls out on
images without colours (`_Replay`), and compares the images behind them with these. The parser and the tool checks are
those of inference; here no deviation is forgiven.
"""

from collections.abc import Generator, Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import NamedTuple

import msgspec
from PIL import Image, ImageChops, ImageStat

from virc.core.errors import DataError
from virc.core.text import plain
from virc.data.check.result import Fault, Rules
from virc.data.rows.boxes import Sizes, messages_with_images
from virc.data.rows.record import Picture, Record, answers_of, choices_of, input_sizes, inputs_of
from virc.reasoning.calls import Box, Call, Result, Size
from virc.reasoning.checking import DEVIATIONS
from virc.reasoning.grammar import marks
from virc.reasoning.history import History, Place
from virc.reasoning.images import OpenedImage, Shown
from virc.reasoning.messages import FormatError, ToolText, Turn, parse
from virc.reasoning.opening.pictures import open_image
from virc.reasoning.protocol import PICTURES, Protocol
from virc.reasoning.repetition import repeats
from virc.reasoning.resample import STAND_IN, Rescaled, resampled
from virc.reasoning.resize import Grid, smart_resize
from virc.scoring.answers import same_answer
from virc.tools import registry as tools

REPEAT_LIMIT = 8
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


_NO_CALL: Sequence[_CallImage] = ()
"""No call stands before a message."""


def check_turns(
    record: Record, sizes: Sizes, files: Sizes, rules: Rules, answering: int, required: bool
) -> Iterator[Fault]:
    """The faults of all turns.

    Args:
        sizes: (width, height) in px of the images as shown. After one that does not open (None), calls and what they
            make stay unchecked.
        files: the same of their files.
        answering: the turn that may answer, from 1; 0 for none. It must where `required`.
    """
    number = 0  # of the assistant's turn
    made: Sequence[_CallImage] | None = _NO_CALL
    replay = _Replay(record, files, rules)
    walked = list(messages_with_images(record, sizes))
    for following, (message, shown, history) in enumerate(walked, 1):
        if message.role == "user" and made is not _NO_CALL:
            yield from _check_sizes(number, shown, made)
            yield from _check_pixels(number, record.images[len(history) :], made, replay)
        made = _NO_CALL
        replay.follow([*history, *shown])
        if message.role != "assistant":
            continue
        number += 1
        image_follows = following < len(walked) and bool(walked[following][1])
        turn = yield from _read_turn(message.content, number, rules, image_follows)
        if turn and turn.calls:
            made = yield from _check_calls(turn.calls, number, history, rules, replay)
        if turn and number != answering:
            if turn.answer is not None and rules.grammar.calls:  # else each turn answers a question of its own
                yield Fault("answer_early", f"turn {number} answers, and is not the last")
        elif turn:
            yield from _check_answer(turn, number, required, record)


def offered(rules: Rules) -> Sequence[str]:
    if rules.protocol is None:
        return sorted(tools.known())
    names = rules.protocol.tools
    if not tools.known().keys() >= set(names):  # rows are checked in processes of their own
        tools.load(names, of_chat_protocol=True)
        tools.check_loaded(names, "the chat protocol of the rows")
    return names


def _read_turn(text: str, number: int, rules: Rules, image_follows: bool) -> Generator[Fault, None, Turn | None]:
    """A turn, if it can be read; an image that follows is the result of a call."""
    if not text.strip():
        yield Fault("no_answer", f"turn {number} answers nothing")
        return None
    limit = rules.protocol.repeat_limit if rules.protocol else REPEAT_LIMIT
    if repeats(text, limit):
        yield Fault("repetition", f"turn {number} repeats a pattern {limit} times in a row")
    if rules.plain and not marks(text, rules.grammar):
        return None
    try:
        return parse(text, rules.grammar)
    except FormatError as error:
        if rules.shows_errors and error.kind == "json" and not image_follows:  # the next turn says so
            return None
        yield Fault(error.kind, f"turn {number}: {error}")
        return None


def _check_answer(turn: Turn, number: int, required: bool, record: Record) -> Iterator[Fault]:
    answer, accepted = turn.answer, answers_of(record)
    if answer is None:
        if required:
            yield Fault("no_answer", f"the last turn, {number}, calls a tool and does not answer")
    elif not answer:
        yield Fault("no_answer", f"turn {number} answers nothing")
    elif not accepted or answer in accepted:
        return
    elif not any(same_answer(answer, each, choices_of(record)) for each in accepted):
        given, expected = plain(answer, 40), plain(accepted[0], 40)
        yield Fault("answer_differs", f"turn {number} answers {given!r}, the row's answer is {expected!r}")


def _check_calls(
    calls: Sequence[ToolText], number: int, history: Sizes, rules: Rules, replay: "_Replay"
) -> Generator[Fault, None, Sequence[_CallImage] | None]:
    """Check the calls of a turn; what they make, None where that is not known."""
    made: list[_CallImage] | None = []
    for tool in calls:
        sizes = [size for size in history if size]
        if len(sizes) < len(history):
            return None
        try:
            seen = [*sizes, *(each.size for each in made or ())]
            found = tools.checked(tool, rules.view(seen, replay.files), replay.offered)
            more = replay.images_of(found.call, seen)
        except ValueError as error:  # a ToolError, or a result too long to be shown
            if not rules.shows_errors:
                yield Fault("tool", f"turn {number}: {plain(error)}")
                made = None
            continue
        made = None if made is None or more is None else [*made, *more]
        for name in () if rules.shows_errors else found.deviations:
            yield Fault(name, f"turn {number}: {DEVIATIONS.get(name, name)}")
    return made


def _check_sizes(number: int, shown: Sizes, made: Sequence[_CallImage] | None) -> Iterator[Fault]:
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
    number: int, pictures: Sequence[Picture], made: Sequence[_CallImage] | None, replay: "_Replay"
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

    def __init__(self, record: Record, files: Sizes, rules: Rules) -> None:
        self.offered = offered(rules)  # which loads tools of one's own
        self._inputs = [record.images[index] for index in inputs_of(record) if index < len(record.images)]
        self._grid = rules.grid
        self._opened: dict[int, Image.Image] = {}
        self._history: History | None = None
        self._unplaced = set[int]()  # indices of images that calls show, of which only the row says what they are
        there = [files[index] for index in inputs_of(record) if index < len(files)]
        inputs = input_sizes(record, files)
        self.files = [size for size in inputs if size]
        self._rows_have_files = list(inputs) == there  # the row has the files, not what was shown of them
        protocol = rules.protocol
        # else crops are the pixels in the box, as shown on the grid
        if protocol and any(getattr(protocol, name) != default for name, default in _CUT.items()) and all(inputs):
            with suppress(ValueError):
                images = [OpenedImage(Image.new(STAND_IN, size)) for size in inputs if size]
                self._history = History(images, protocol, rules.grid, tools.known())

    def images_of(self, call: Call, sizes: Sequence[Size]) -> Sequence[_CallImage] | None:
        """What a call makes of the images so far; None: that is not known. Raises ValueError: it cannot be shown."""
        tool = tools.get(call.name)
        by_schema = not hasattr(tool, "check")
        if call.index is None or (by_schema and call.box is None) or hasattr(tool, "server"):
            # What it says depends on what it sees.
            return None
        if self._history is None:
            size = sizes[call.index]
            if call.arguments:
                return _apply(call, size, self._grid)
            return _apply_cached(call.name, call.box, call.factor, size, self._grid)
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
