"""Whether the calls of a conversation can be carried out, and whether what follows a call is what it makes.

`check_calls` takes the steps of a row and compares the images after each reply with those that its calls make. The tool
checks are those of inference; here no deviation is forgiven.
"""

from collections.abc import Iterator, Mapping, Sequence

import msgspec
from PIL import Image, ImageChops, ImageStat

from virc.core.errors import DataError
from virc.core.text import plain
from virc.data.check.images import RowImageSet
from virc.data.check.result import Fault, Rules
from virc.data.check.turns import Located, ReadTurn
from virc.data.rows.boxes import Sizes
from virc.data.rows.record import Picture, Record, images_of
from virc.data.rows.sizes import Spoken
from virc.data.steps import Step, StoredWalk
from virc.reasoning.calls import Tool
from virc.reasoning.checking import DEVIATIONS, units_of_box
from virc.reasoning.history import Place
from virc.reasoning.opening.pictures import open_image
from virc.reasoning.resample import Rescaled, resampled
from virc.tools import registry as tools

_SIDE, _MAX_APART = 64, 8.0
"""px and levels of 255: a crop and its place in the file, both this small, differ by no more on the average."""


def offered(spoken: Spoken) -> Mapping[str, Tool]:
    known = tools.known()
    names = sorted(known) if spoken.protocol is None else spoken.protocol.tools
    if not known.keys() >= set(names):  # rows are checked in processes of their own
        tools.load(names, of_chat_protocol=True)
        tools.check_loaded(names, "the chat protocol of the rows")
        known = tools.known()
    return {name: known[name] for name in names}


def check_calls(
    record: Record, replies: Sequence[ReadTurn], images: RowImageSet, rules: Rules, checked: int
) -> tuple[list[Located], list[tuple[bool, bool]]]:
    """The faults of calls in the first `checked` messages, and `units_of_box` of the boxes in all.

    After an image that does not open, calls and what they make stay unchecked.
    """
    marks = images_of(record)
    missing = sum(map(len, marks)) - len(images.shown)  # marks beyond the images count as unknown
    shown: Sizes = [*images.shown, *[None] * missing]
    turns, numbers = {each.at: each.turn for each in replies if each.turn}, {each.at: each.number for each in replies}
    faults, files = list[Located](), _Files(record, images)
    first = msgspec.structs.replace(record, messages=record.messages[:checked])
    for step in StoredWalk(first, turns, rules, shown, images.input_files, offered(rules)) if checked else ():
        number = numbers[step.at]
        faults += ((step.at, each) for each in _check_step(step, number, rules))
        if step.calls and step.at + 1 < checked and record.messages[step.at + 1].role == "user":
            faults += ((step.at + 1, each) for each in _check_images(step, number, shown, files))
    units, before, known = list[tuple[bool, bool]](), 0, tools.known()
    for at, indices in enumerate(marks):
        if turn := turns.get(at):
            units += units_of_box(known, turn.tool, shown[:before])
        before += len(indices)
    return faults, units


def _check_step(step: Step, number: int, rules: Rules) -> Iterator[Fault]:
    if rules.shows_errors:
        return
    for each in step.calls:
        if each.error:
            yield Fault("tool", f"turn {number}: {plain(each.error)}")
        for name in each.checked.deviations if each.checked else ():
            yield Fault(name, f"turn {number}: {DEVIATIONS.get(name, name)}")


def _check_images(step: Step, number: int, shown: Sizes, files: "_Files") -> Iterator[Fault]:
    """Whether the images after a reply are those that its calls make."""
    made = step.made
    if made is None:
        return
    if len(step.images) != len(made):
        wanted = "one" if len(made) == 1 else str(len(made))
        sentence = f"after the call of turn {number} there are {len(step.images)} images, not {wanted}"
        yield Fault("result_differs", sentence)
        return
    for index, expected in zip(step.images, made, strict=True):
        if (there := shown[index]) and there not in (expected.size, expected.before_grid):
            is_, would = (f"{width} x {height} px" for width, height in (there, expected.size))
            sentence = f"the call of turn {number} makes {would}, the image after it has {is_}"
            yield Fault("result_differs", sentence)
    for index, expected in zip(step.images, made, strict=True):
        if expected.place and (apart := files.difference(index, expected.place)) > _MAX_APART:
            left, top, right, bottom = expected.place.box
            where = f"{left},{top} to {right},{bottom} of the file"
            sentence = f"the image after the call of turn {number} is not what it cuts out, {where}: "
            yield Fault("result_differs", f"{sentence}they differ by {apart:.0f} levels of 255 on the average")


class _Files:
    """Compares the crops of a row with their places in its files."""

    def __init__(self, record: Record, images: RowImageSet) -> None:
        self._pictures, self._opened = record.images, dict[int, Image.Image]()
        # the row has the files, not what was shown of them
        has_files = [*images.input_files] == [images.files[index] for index in images.inputs]
        self._inputs = [record.images[index] for index in images.inputs] if has_files else []

    def difference(self, index: int, place: Place) -> float:
        """How far an image is from what its place in the file shows: levels of 255, on the average; 0: not known."""
        if place.root >= len(self._inputs) or index >= len(self._pictures):
            return 0.0
        try:
            if place.root not in self._opened:
                self._opened[place.root] = _opened(self._inputs[place.root])
            shown = _opened(self._pictures[index])
        except (OSError, DataError):
            return 0.0  # reported for the image itself
        size = (min(_SIDE, shown.width), min(_SIDE, shown.height))
        cut = resampled(Rescaled(self._opened[place.root], shown.size, place.box), shown.size)
        both = (each.resize(size, Image.Resampling.BOX) for each in (cut, shown))
        means = ImageStat.Stat(ImageChops.difference(*both)).mean
        return float(sum(means) / len(means))


def _opened(picture: Picture) -> Image.Image:
    return open_image(picture.read(), picture.name)
