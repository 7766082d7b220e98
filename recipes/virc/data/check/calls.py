"""Whether assistant turns are what they must be, and whether what follows a tool call is what it makes.

The parser and the tool checks are those of inference; here no deviation is forgiven.
"""

from collections.abc import Generator, Iterator, Sequence
from functools import lru_cache

from PIL import Image

from virc.core.text import plain
from virc.data.check.result import Fault, Rules
from virc.data.rows.record import Message, Record, choices_of, images_of
from virc.reasoning.calls import Call, Size, ToolError, View
from virc.reasoning.grammar import TAGS, Grammar
from virc.reasoning.messages import FormatError, ToolText, Turn, parse
from virc.reasoning.protocol import Coordinates
from virc.reasoning.repetition import repeats
from virc.reasoning.resize import smart_resize
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


def check(record: Record, sizes: _Sizes, rules: Rules, answering: int, required: bool) -> Iterator[Fault]:
    """The faults of all turns.

    Args:
        sizes: (width, height) in px of the images as shown. After one that does not open (None), calls and what they
            make stay unchecked.
        answering: the turn that may answer, from 1; 0 for none. It must where `required`.
    """
    number, called, made = 0, False, None
    for message, shown, history in _walk(record, sizes):
        if message.role == "user" and called:
            yield from _result(number, shown, made)
        called, made = False, None
        if message.role != "assistant":
            continue
        number += 1
        turn = yield from _turn(message.content, number, rules)
        if turn and turn.tool:
            called = True
            made = yield from _call(turn.tool, number, history, rules)
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


def _call(tool: ToolText, number: int, history: _Sizes, rules: Rules) -> Generator[Fault, None, _Made | None]:
    """Check a call; what it makes, where that is known."""
    sizes = [size for size in history if size]
    if len(sizes) < len(history):
        return None
    try:
        found = tools.get(tool.name, offered(rules)).check(tool.arguments, rules.view(sizes))
        made = _made(found.call, sizes[found.call.index])
    except ValueError as error:  # a ToolError, or a result too long to be shown
        yield Fault("tool", f"turn {number}: {plain(error)}")
        return None
    for name in found.deviations:
        yield Fault(name, f"turn {number}: {_DEVIATIONS.get(name, name)}")
    return made


def _result(number: int, shown: _Sizes, made: _Made | None) -> Iterator[Fault]:
    """The message after a call must show one image, of the size that the call makes."""
    if len(shown) != 1:
        sentence = f"after the call of turn {number} there are {len(shown)} images, not one"
        yield Fault("result_differs", sentence)
    elif made and shown[0] and shown[0] not in made:
        is_, would = (f"{width} x {height} px" for width, height in (shown[0], made[0]))
        sentence = f"the call of turn {number} makes {would}, the image after it has {is_}"
        yield Fault("result_differs", sentence)


def _fits(tool: ToolText, history: _Sizes, coordinates: Coordinates) -> bool:
    try:
        found = tools.get(tool.name).check(tool.arguments, View([size for size in history if size], coordinates))
    except ToolError:
        return False
    return "box_clamped" not in found.deviations


@lru_cache(4096)
def _made(call: Call, size: Size) -> _Made:
    """What the tool makes of an image of that size, found by running it on one without colours."""
    made = tools.get(call.name).apply(call, Image.new("1", size))
    return smart_resize(*made.size), made.size
