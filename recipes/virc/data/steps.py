"""A stored conversation, reply by reply: what its calls make, and which images of the row these are.

Nothing is asked or fed, as in a `Session`: the row has the replies and the images, and only calls are read again.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import pairwise

import msgspec
from PIL import Image

from virc.data.rows.boxes import Sizes
from virc.data.rows.record import Record, images_of, inputs_of
from virc.data.rows.sizes import Spoken
from virc.reasoning.bodies import ToolText
from virc.reasoning.calls import Call, Checked, Size, Tool, find_tool
from virc.reasoning.checking import check_call
from virc.reasoning.grammar import Grammar
from virc.reasoning.history import History, Place
from virc.reasoning.images import Shown
from virc.reasoning.messages import FormatError, Turn, parse
from virc.reasoning.protocol import Coordinates, Protocol, own_protocol
from virc.reasoning.resample import StandIn
from virc.tools import registry as tools


class ToolImage(msgspec.Struct, frozen=True):
    """An image that a call makes: its (width, height) in px as shown on the patch grid, and before that, as sets
    without a grid show it; and the part of another image's pixels that it shows, if it shows one.
    """

    size: Size
    before_grid: Size
    place: Place | None = None


class StepCall(msgspec.Struct, frozen=True):
    """A call of a reply.

    Args:
        checked: the call as it is carried out, and what was forgiven.
        error: why it is not. With neither nothing is known of it, as an image before it does not open.
        made: None: only a tool that sees colours knows.
        images: indices of the row's images that it led to.
        numbers: those that its images have in the conversation, whether the row shows them or not.
    """

    tool: ToolText | None
    checked: Checked | None = None
    error: ValueError | None = None
    made: Sequence[ToolImage] | None = None
    images: Sequence[int] = ()
    numbers: Sequence[int] = ()

    @property
    def call(self) -> Call | None:
        return self.checked.call if self.checked else None


class Step(msgspec.Struct, frozen=True):
    """A reply: the index of its message, its turn (None: it cannot be read), its calls, and the indices of the row's
    images from it up to the next reply.
    """

    at: int
    turn: Turn | None
    calls: Sequence[StepCall]
    images: Sequence[int]

    @property
    def made(self) -> list[ToolImage] | None:
        """What all its calls make; None where that is not known."""
        made = [each.made for each in self.calls if each.made is not None]
        return [each for images in made for each in images] if len(made) == len(self.calls) else None


class StoredWalk:
    """The steps of a conversation. A call sees what was shown before its reply, and what calls before it there make.

    An image of the row has the size of its file, and shows the place that its call cuts out; where the row shows
    another number of images than calls make, their places are unknown. `history` has the images so far, in the end
    those after the last step; None: one does not open.

    Args:
        turns: by the index of their message.
        shown: (width, height) in px of the row's images; calls after one that does not open (None) stay unknown.
        files: the same of its inputs' files.
        offered: the tools that may be called.
        pixels: returns an image of the row, by its index, at a size; None: tools see images without colours, and those
            that look at colours, and those of users and servers, are not run.
    """

    def __init__(
        self, record: Record, turns: Mapping[int, Turn], spoken: Spoken, shown: Sizes, files: Sizes,
        offered: Mapping[str, Tool], pixels: Callable[[int, Size], Image.Image] | None = None,
    ) -> None:  # fmt: skip
        self._record, self._turns, self._spoken, self._shown = record, turns, spoken, shown
        self._files, self._offered, self._pixels = files, offered, pixels or (lambda at, size: StandIn(size))
        self._runs_all, self._unplaced = pixels is not None, set[int]()  # images that show an unknown place
        self._protocol = spoken.protocol or _own(spoken.coordinates)
        inputs = [self._input(*each) for each in enumerate(shown[: len(inputs_of(record))])]
        opened = [each for each in inputs if each]
        self.history = History(opened, self._protocol, spoken.grid, offered) if len(opened) == len(inputs) else None

    def __iter__(self) -> Iterator[Step]:
        replies = [at for at, each in enumerate(self._record.messages) if each.role == "assistant"]
        indices = images_of(self._record)
        first, *_ = bounds = [*replies, len(indices)]
        self._resync(self._known(indices[:first])[len(self.history.images) if self.history else 0 :], self.history)
        for at, end in pairwise(bounds):
            turn, images = self._turns.get(at), self._known(indices[at:end])
            written = turn.calls if turn else ()
            after = self.history.copy() if self.history and written else self.history
            first = len(images) - len(written) + 1  # calls after one that is not run are taken to make an image each
            calls = [self._called(each, after, images[: max(end, 0)]) for end, each in enumerate(written, first)]
            self._resync(images, after)
            yield Step(at, turn, [*_with_images(calls, images)], images)

    def _known(self, indices: Sequence[Sequence[int]]) -> list[int]:
        """The images of some messages that the row has."""
        return [index for each in indices for index in each if index < len(self._shown)]

    def _input(self, at: int, size: Size | None) -> Shown | None:
        file = self._files[at] if at < len(self._files) else size
        if size is None or file is None:
            return None
        full = self._pixels(at, file) if self._protocol.crops == "file" else None
        return Shown(self._pixels(at, size), original=file, full=full)

    def _called(self, tool: ToolText, history: History | None, images: Sequence[int]) -> StepCall:
        """A call, carried out on the history, which gets what it makes, or `images` of the row if it is not run."""
        if history is None:
            return StepCall(tool)
        before = len(history.images)
        try:
            view = self._spoken.view(history.sizes, [each for each in self._files if each])
            checked = check_call(find_tool(self._offered, tool.name), tool.arguments, view)
            if not self._is_run(checked.call):
                return StepCall(tool, checked, numbers=self._stored(images, history))
            made = self._made(checked.call, history)
        except ValueError as error:  # a ToolError, or what it makes cannot be shown
            return StepCall(tool, error=error, made=() if self._spoken.shows_errors else None)
        return StepCall(tool, checked, made=made, numbers=range(before, len(history.images)))

    def _made(self, call: Call, history: History) -> list[ToolImage]:
        _, plans = history.planned(call)
        for shown, each in [(history.shown(call, each), each) for each in plans]:
            history.add(shown, each.place)
        return [ToolImage(each.size, each.made.size, each.place) for each in plans]

    def _stored(self, images: Sequence[int], history: History) -> Sequence[int]:
        """Add those of the row's images that the history lacks; returns their numbers."""
        new = {index: size for index in images if index >= len(history.images) and (size := self._shown[index])}
        for index, size in new.items():
            history.add(Shown(self._pixels(index, size)), None)
        self._unplaced.update(new)
        return [*new]

    def _is_run(self, call: Call) -> bool:
        """Whether a tool runs: without colours only one that needs none, and whose code is no user's."""
        if self._runs_all:
            return True
        needs_colours = call.index is None or not (hasattr(self._offered[call.name], "check") or call.box)
        is_placed = self._protocol.crops == "shown" or call.index not in self._unplaced
        return not needs_colours and is_placed and tools.known_here(call.name)

    def _resync(self, images: Sequence[int], after: History | None) -> None:
        """Add the row's images up to the next reply, which show what the calls before made of `after`."""
        sizes = [size for index in images if (size := self._shown[index])]
        if self.history is None or after is None or len(sizes) < len(images):
            self.history = None
            return
        before = len(self.history.images)
        placed = len(after.images) - before == len(images) and self._unplaced.isdisjoint(images)
        self.history.kept = after.kept
        for number, (index, size) in enumerate(zip(images, sizes, strict=True), before):
            made, place = (after.images[number], after.places[number]) if placed else (None, None)
            is_same = made and made.size == size and not self._runs_all  # its file may be larger
            own = place is None or place.root == number
            self.history.add(made if made and is_same else Shown(self._pixels(index, size)), None if own else place)
            self._unplaced |= set() if placed else {index}


def _with_images(calls: Collection[StepCall], images: Sequence[int]) -> Iterator[StepCall]:
    """The calls with the images that they led to: as many as each makes; the last that makes any has the rest."""
    makes = [(each.made is None and each.error is None) or bool(each.made) for each in calls]
    last = max((number for number, each in enumerate(makes) if each), default=len(calls) - 1)
    for number, each in enumerate(calls):
        taken = images if number == last else images[: len(each.numbers)]
        images = images[len(taken) :]
        yield msgspec.structs.replace(each, images=taken)


@lru_cache
def _own(coordinates: Coordinates) -> Protocol:
    return own_protocol(tools.schemas(tools.DEFAULT), coordinates)


def read_turns(record: Record, grammar: Grammar) -> tuple[dict[int, Turn], dict[int, FormatError]]:
    """The replies of a conversation, and why others cannot be read, by the indices of their messages."""
    turns, errors = dict[int, Turn](), dict[int, FormatError]()
    for at, message in enumerate(record.messages):
        if message.role == "assistant":
            try:
                turns[at] = parse(message.content, grammar)
            except FormatError as error:
                errors[at] = error
    return turns, errors
