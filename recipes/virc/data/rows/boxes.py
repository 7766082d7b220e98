"""The boxes that rows write in calls and texts, and the unit in which they make sense."""

from collections.abc import Iterator, Sequence
from contextlib import suppress

import msgspec

from virc.data.rows.record import MARK, Message, Record, TextBox
from virc.reasoning.calls import Size
from virc.reasoning.checking import units_of_box
from virc.reasoning.coordinates import sides_of
from virc.reasoning.grammar import TAGS, Grammar
from virc.reasoning.messages import FormatError, parse
from virc.reasoning.resize import QWEN2, smart_resize
from virc.tools import registry as tools

Sizes = Sequence[Size | None]
"""(width, height) in px of images; None for one that does not open."""


def units_of_boxes(record: Record, sizes: Sizes, grammar: Grammar = TAGS) -> Iterator[tuple[bool, bool]]:
    """For each box written on images that open: whether it makes sense as pixels, and whether as permille."""
    before, known = 0, [*sizes, *[None] * sum(each.content.count(MARK) for each in record.messages)]
    for message in record.messages:
        if message.role == "assistant":
            with suppress(FormatError):
                yield from units_of_box(tools.known(), parse(message.content, grammar).tool, known[:before])
        before += message.content.count(MARK)


def with_boxes_for(message: Message, sizes: Sequence[Size]) -> Message:
    """The message with the boxes of its text written for images whose files have these (width, height) in px."""
    texts = (each if isinstance(each, str) else _as_text(each, sizes[each.image]) for each in message.parts)
    return msgspec.structs.replace(message, content="".join(texts)) if message.parts else message


def _as_text(box: TextBox, size: Size) -> str:
    sides = sides_of(smart_resize(*size, QWEN2), box.coordinates, size)  # what the largest numbers stand for
    return str([round(each * sides[axis % 2] / box.size[axis % 2]) for axis, each in enumerate(box.numbers)])
