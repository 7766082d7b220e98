"""Trajectories as another system would have written them: the same tool calls, thoughts and answer."""

from collections.abc import Sequence
from typing import Any

from virc.data.convert.recode import errors_of, file_size, finished, session_of, shown_sizes, with_images_before
from virc.data.rows.record import Record, inputs_of
from virc.reasoning.calls import Call, Size, ToolError, View
from virc.reasoning.coordinates import sides_of
from virc.reasoning.messages import ToolText, Turn, parse
from virc.reasoning.protocol import Protocol
from virc.reasoning.session import Done, Rejected, Reply
from virc.reasoning.writing import written
from virc.scoring.score import final
from virc.tools import registry as tools

_CUTS = ("crop_image", "zoom_image")
"""Tools that cut a box out of an image; a system that has only the other one uses that."""
_BOXED = r"\boxed{}"
"""A chat protocol whose first turn has it wants answers in such a box."""
_DIGITS = 4  # behind the point, of boxes in parts of the sides


def reworded(record: Record, question: str, source: Protocol, target: Protocol) -> Record:
    """A trajectory replayed as another system would have it.

    A call that the target has no tool for is left out, and its thought is put before the next. A cut of one kind
    becomes one of another.

    Raises:
        DataError: an image cannot be read, a turn is not in the source's grammar, or the target cannot say one: it
            calls a tool on an image that does not exist there, or that its calls cannot name.
    """
    replay = _Replay(record, question, source, target)
    for number, message, seen in with_images_before(record):
        if message.role == "assistant":
            with errors_of(number):
                replay.take(message.content, seen)
    return finished(replay.session, record)


class _Replay:
    """A trajectory as far as it has been replayed."""

    def __init__(self, record: Record, question: str, source: Protocol, target: Protocol) -> None:
        self.session = session_of(record, question, target)
        self._source, self._target = source, target
        self._sizes = shown_sizes(record, source)
        self._files = [file_size(record.images[index]) for index in inputs_of(record)]
        self._places: list[int | None] = [*range(len(self.session.images))]  # of the record's images in the session
        self._thoughts: list[str] = []

    def take(self, text: str, seen: int) -> None:
        """Add a turn that was written when so many images had been shown."""
        turn = parse(text, self._source.grammar)
        self._thoughts.append(turn.think)
        if turn.tool is None:
            boxed = _BOXED in self._target.first and final(turn.answer or "") is None
            self._feed(None, rf"\boxed{{{turn.answer}}}" if boxed else turn.answer)
            return
        view = View(self._sizes[:seen], self._source.coordinates, self._source.box, self._files)
        call: Call = tools.get(turn.tool.name, self._source.tools).check(turn.tool.arguments, view).call
        same = [call.name, *(_CUTS if call.name in _CUTS else ())]
        name = next((each for each in same if each in self._target.tools), None)
        if name is None:
            self._places.append(None)
            return
        self._feed(self._call(call, name))
        self._places.append(len(self.session.images) - 1)

    def _feed(self, tool: ToolText | None, answer: str | None = None) -> None:
        if isinstance(self.session.next(), Done):
            raise ToolError("the row continues after its answer")
        turn = Turn(" ".join(filter(None, self._thoughts)), tool, answer)
        outcome = self.session.feed(Reply(written(turn, self._target.grammar)))
        if isinstance(outcome, Rejected):
            raise ToolError(outcome.reason)
        self._thoughts = []

    def _call(self, call: Call, name: str) -> ToolText:
        """The call of the target's tool `name`, with its image numbers and coordinates."""
        index = self._places[call.index]
        if index is None:
            raise ToolError(f"it needs image {call.index}, which no tool of this system makes")
        arguments: dict[str, Any] = {"image_index": index}
        if call.box is not None:
            arguments["bbox_2d"] = self._box(call.box, self._sizes[call.index], index)
        if call.factor is not None:
            arguments["scale_factor"] = call.factor
        return ToolText(name, arguments)

    def _box(self, box: Sequence[int], size: Size, index: int) -> list[float]:
        """A box in px of an image of `size`, as the target writes it of the session's image `index`."""
        shown = self.session.images[index].size
        original = self._files[index] if index < len(self._files) else None
        sides = sides_of(shown, self._target.coordinates, original)
        new: list[float] = [c * other / side for c, side, other in zip(box, size * 2, sides * 2, strict=True)]
        if self._target.box == "center":
            left, top, right, bottom = new
            new = [(left + right) / 2, (top + bottom) / 2, right - left, bottom - top]
        return [round(c, _DIGITS) if self._target.coordinates == "unit" else round(c) for c in new]
