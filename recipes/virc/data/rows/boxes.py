"""The boxes that rows write in calls and texts, and the unit in which they make sense."""

from collections.abc import Iterator, Sequence

import msgspec

from virc.data.rows.record import Message, Record, TextBox, images_of
from virc.reasoning.calls import Size, ToolError, View
from virc.reasoning.coordinates import sides_of
from virc.reasoning.grammar import TAGS, Grammar
from virc.reasoning.messages import FormatError, ToolText, parse
from virc.reasoning.protocol import Coordinates
from virc.reasoning.resize import QWEN2, smart_resize
from virc.tools import registry as tools

Sizes = Sequence[Size | None]
"""(width, height) in px of images; None for one that does not open."""


def units_of_boxes(record: Record, sizes: Sizes, grammar: Grammar = TAGS) -> Iterator[tuple[bool, bool]]:
    """For each box written on images that open: whether it makes sense as pixels, and whether as permille."""
    for message, _, history in messages_with_images(record, sizes):
        if message.role != "assistant" or not all(history):
            continue
        try:
            tool = parse(message.content, grammar).tool
        except FormatError:
            continue
        if tool and "bbox_2d" in tool.arguments:
            yield _lies_inside(tool, history, "pixel"), _lies_inside(tool, history, "permille")


def messages_with_images(record: Record, sizes: Sizes) -> Iterator[tuple[Message, Sizes, Sizes]]:
    """Each message with the images it shows and those shown before it; marks beyond the images count as unknown."""
    images = images_of(record)
    known = [*sizes, *[None] * sum(map(len, images))]
    shown = 0
    for message, indices in zip(record.messages, images, strict=True):
        yield message, known[shown : shown + len(indices)], known[:shown]
        shown += len(indices)


def _lies_inside(tool: ToolText, history: Sizes, coordinates: Coordinates) -> bool:
    try:
        found = tools.checked(tool, View([size for size in history if size], coordinates))
    except ToolError:
        return False
    return "box_clamped" not in found.deviations


def with_boxes_for(message: Message, sizes: Sequence[Size]) -> Message:
    """The message with the boxes of its text written for images whose files have these (width, height) in px."""
    texts = (each if isinstance(each, str) else _as_text(each, sizes[each.image]) for each in message.parts)
    return msgspec.structs.replace(message, content="".join(texts)) if message.parts else message


def _as_text(box: TextBox, size: Size) -> str:
    sides = sides_of(smart_resize(*size, QWEN2), box.coordinates, size)  # what the largest numbers stand for
    return str([round(each * sides[axis % 2] / box.size[axis % 2]) for axis, each in enumerate(box.numbers)])
