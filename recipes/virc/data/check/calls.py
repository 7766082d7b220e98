"""Whether assistant turns are what they must be, and whether what follows a tool call is what it makes.

The parser and the tool checks are those of inference; here no deviation is forgiven.
"""

from collections.abc import Generator, Iterator, Sequence
from contextlib import suppress
from functools import lru_cache

import msgspec
from PIL import Image

from virc.core.text import plain
from virc.data.check.result import Fault, Rules
from virc.data.rows import file_sizes
from virc.data.rows.record import Message, Record, choices_of, images_of, inputs_of
from virc.reasoning.calls import Box, Call, Result, Size, ToolError, View
from virc.reasoning.grammar import TAGS, Grammar
from virc.reasoning.history import History
from virc.reasoning.images import Shown
from virc.reasoning.messages import FormatError, ToolText, Turn, parse
from virc.reasoning.protocol import PICTURES, Coordinates, Protocol
from virc.reasoning.repetition import repeats
from virc.reasoning.resize import QWEN2, smart_resize
from virc.scoring.rules import same
from virc.scoring.score import final
from virc.tools import registry as tools

REPEAT_LIMIT = 8
_DEVIATIONS = {
    "box_clamped": "the box leaves the image",
    "factor_snapped": "the factor is none of those offered",
    "index_negative": "image_index counts from the end",
}
_Sizes = Sequence[Size | None]
_Made = tuple[Size, Size]
"""(width, height) in px of a call's result as shown, and as made: sets without a patch grid show it so."""
_OF_INPUTS = ("images", "input_pixels")
_NOTHING: Sequence[_Made] = ()
"""No call stands before a message."""


def check(
    record: Record, sizes: _Sizes, files: _Sizes, rules: Rules, answering: int, required: bool
) -> Iterator[Fault]:
    """The faults of all turns.

    Args:
        sizes: (width, height) in px of the images as shown. After one that does not open (None), calls and what they
            make stay unchecked.
        files: the same of their files.
        answering: the turn that may answer, from 1; 0 for none. It must where `required`.
    """
    number = 0
    made: Sequence[_Made] | None = _NOTHING
    replay = _Replay(record, files, rules)
    for message, shown, history in _walk(record, sizes):
        if message.role == "user" and made is not _NOTHING:
            yield from _result(number, shown, made)
        made = _NOTHING
        if message.role != "assistant":
            continue
        number += 1
        turn = yield from _turn(message.content, number, rules)
        if turn and turn.calls:
            made = yield from _calls(turn.calls, number, history, rules, replay)
        if turn and number != answering:
            if turn.answer is not None:
                yield Fault("answer_early", f"turn {number} answers, and is not the last")
        elif turn:
            yield from _answer(turn, number, required, record)


def boxes(record: Record, sizes: _Sizes, grammar: Grammar = TAGS) -> Iterator[tuple[bool, bool]]:
    """For each box written on images that open: whether it makes sense as pixels, and whether as permille."""
    for message, _, history in _walk(record, sizes):
        if message.role != "assistant" or not all(history):
            continue
        try:
            tool = parse(message.content, grammar).tool
        except FormatError:
            continue
        if tool and "bbox_2d" in tool.arguments:
            yield _fits(tool, history, "pixel"), _fits(tool, history, "permille")


def offered(rules: Rules) -> Sequence[str]:
    """Names of the tools that the rows may call."""
    if rules.protocol is None:
        return sorted(tools.known())
    tools.load(rules.protocol.tools, of_chat_protocol=True)  # rows are checked in processes of their own
    return rules.protocol.tools


def _walk(record: Record, sizes: _Sizes) -> Iterator[tuple[Message, _Sizes, _Sizes]]:
    """Each message with the images it shows and those shown before it; marks beyond the images count as unknown."""
    images = images_of(record)
    known = [*sizes, *[None] * sum(map(len, images))]
    shown = 0
    for message, indices in zip(record.messages, images, strict=True):
        yield message, known[shown : shown + len(indices)], known[:shown]
        shown += len(indices)


def _turn(text: str, number: int, rules: Rules) -> Generator[Fault, None, Turn | None]:
    limit = rules.protocol.repeat_limit if rules.protocol else REPEAT_LIMIT
    if repeats(text, limit):
        yield Fault("repetition", f"turn {number} repeats a pattern {limit} times in a row")
    try:
        return parse(text, rules.grammar)
    except FormatError as error:
        yield Fault(error.kind, f"turn {number}: {error}")
        return None


def _answer(turn: Turn, number: int, required: bool, record: Record) -> Iterator[Fault]:
    answer, reference = turn.answer, record.answer
    if answer is None:
        if required:
            yield Fault("no_answer", f"the last turn, {number}, calls a tool and does not answer")
    elif not answer:
        yield Fault("no_answer", f"turn {number} answers nothing")
    elif reference is not None:
        texts = [answer, final(answer)]  # the answer, or what it ends in
        if not any(text is not None and same(text, reference, choices_of(record)) for text in texts):
            given, expected = plain(answer, 40), plain(reference, 40)
            yield Fault("answer_differs", f"turn {number} answers {given!r}, the row's answer is {expected!r}")


def _calls(
    calls: Sequence[ToolText], number: int, history: _Sizes, rules: Rules, replay: "_Replay"
) -> Generator[Fault, None, Sequence[_Made] | None]:
    """Check the calls of a turn; what they make, None where that is not known."""
    made: list[_Made] | None = []
    for tool in calls:
        sizes = [size for size in history if size]
        if len(sizes) < len(history):
            return None
        try:
            found = tools.checked(tool, rules.view([*sizes, *(shown for shown, _ in made or ())]), offered(rules))
            more = replay.made(found.call, sizes)
        except ValueError as error:  # a ToolError, or a result too long to be shown
            if rules.protocol is None or rules.protocol.errors != "show":
                yield Fault("tool", f"turn {number}: {plain(error)}")
                made = None
            continue
        made = None if made is None or more is None else [*made, *more]
        forgiving = rules.protocol is not None and rules.protocol.errors == "show"
        for name in () if forgiving else found.deviations:
            yield Fault(name, f"turn {number}: {_DEVIATIONS.get(name, name)}")
    return made


def _result(number: int, shown: _Sizes, made: Sequence[_Made] | None) -> Iterator[Fault]:
    """The message after calls must show as many images as they make, each of its size."""
    if made is None:
        return
    if len(shown) != len(made):
        wanted = "one" if len(made) == 1 else str(len(made))
        sentence = f"after the call of turn {number} there are {len(shown)} images, not {wanted}"
        yield Fault("result_differs", sentence)
        return
    for there, expected in zip(shown, made, strict=True):
        if there and there not in expected:
            is_, would = (f"{width} x {height} px" for width, height in (there, expected[0]))
            sentence = f"the call of turn {number} makes {would}, the image after it has {is_}"
            yield Fault("result_differs", sentence)


class _Replay:
    """The sizes of what the calls of a row make, on images without colours."""

    def __init__(self, record: Record, files: _Sizes, rules: Rules) -> None:
        self._rules = rules
        self._history: History | None = None
        there = [files[index] for index in inputs_of(record) if index < len(files)]
        inputs: _Sizes = file_sizes.of(record) or there
        protocol = rules.protocol
        if protocol and _cuts_its_own_way(protocol) and inputs and all(inputs):
            with suppress(ValueError):
                images = [Image.new("1", size) for size in inputs if size]
                self._history = History(images, protocol, QWEN2, tools.known())

    def made(self, call: Call, sizes: Sequence[Size]) -> Sequence[_Made] | None:
        """What a call makes of the images so far; None: that is not known. Raises ValueError: it cannot be shown."""
        if call.index is None:
            return None
        if self._history is None:
            return [_made(call, sizes[call.index])]
        _, planned = self._history.planned(call)
        for each in planned:
            self._history.add(Shown(Image.new("1", each.size)), each.place)
        return [(each.size, each.made.size) for each in planned]


def _cuts_its_own_way(protocol: Protocol) -> bool:
    """Whether crops are other than the pixels in the box, as shown on the grid."""
    fields = (field for field in msgspec.structs.fields(Protocol) if field.name in PICTURES)
    return any(getattr(protocol, field.name) != field.default for field in fields if field.name not in _OF_INPUTS)


def _fits(tool: ToolText, history: _Sizes, coordinates: Coordinates) -> bool:
    try:
        found = tools.checked(tool, View([size for size in history if size], coordinates))
    except ToolError:
        return False
    return "box_clamped" not in found.deviations


def _made(call: Call, size: Size) -> _Made:
    """What the tool makes of an image of that size, found by running it on one without colours."""
    return _run(call, size) if call.arguments else _cached(call.name, call.box, call.factor, size)


@lru_cache(4096)
def _cached(name: str, box: Box | None, factor: float | None, size: Size) -> _Made:
    return _run(Call(name, 0, box, factor), size)


def _run(call: Call, size: Size) -> _Made:
    made = tools.get(call.name).apply(call, Image.new("1", size))
    if isinstance(made, str | Result):
        raise ToolError(f"{call.name} does not make one image")
    return smart_resize(*made.size), made.size
