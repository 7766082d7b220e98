"""`draw_marks`: draw boxes with labels, and lines from a red to a blue end, on a copy of an image counted from 1.

The copy has the marks of its image, too; one with the label of a new one is drawn in its place, over what is there.
Source: AntResearchNLP/ViLaSR@61669c0, verl/utils/edit_image_video.py, and process_single_response of
verl/workers/rollout/vllm_rollout/vllm_rollout_spmd_video.py.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image, ImageColor

from virc.reasoning.bodies import INDEX
from virc.reasoning.calls import (
    Call,
    Checked,
    Conversation,
    Result,
    Size,
    ToolError,
    View,
    function_schema,
    require_keys,
)

Mark = Mapping[str, Any]
_COLOURS = (
    *"red green blue yellow orange pink purple brown gray beige turquoise cyan magenta lime navy maroon teal".split(),
    *"olive coral lavender violet gold silver".split(),
    *ImageColor.colormap,
)
_ENDS = {"start_point_2d": "red", "end_point_2d": "blue"}
_WIDTH, _RADIUS, _BESIDE = 4, 4, (8, 6)  # px
_FAR, _LETTERS = 10**4, 200  # px and letters of a label, which are drawn

NAME = "draw_marks"
TEMPLATE = "after_image"
SCHEMA = function_schema(
    NAME,
    "Draw boxes or lines on an image.",
    (INDEX, "marks"),
    image_index={"type": "integer", "description": "which image, 1 is the first"},
    marks={"type": "array", "items": {"type": "object"}, "minItems": 1},
)


def check(arguments: Mapping[str, Any], view: View) -> Checked:
    """Read a call. Raises ToolError: there is no such image, or an object is neither a box nor a line."""
    require_keys(arguments, INDEX, "marks")
    number, marks = arguments[INDEX], arguments["marks"]
    if type(number) is not int or not 1 <= number <= len(view.sizes):
        raise ToolError(f"index is {number!r:.40}, and the images are 1 to {len(view.sizes)}", "image")
    if not all(isinstance(each.get("label"), str) and (_is_box(each) or _is_line(each)) for each in marks):
        raise ToolError("an object has neither bbox_2d, nor start_point_2d and end_point_2d, with a label", "arguments")
    return Checked(Call(NAME, arguments={"image": number - 1, "marks": marks}))


def apply_to_all(call: Call, conversation: Conversation) -> Result:
    """A copy of the image with its marks and those of the call."""
    image = call.arguments["image"]
    before: Mapping[int, Sequence[Mark]] = conversation.kept.get(NAME, {})
    boxes, lines = (
        _merged(list(filter(kind, before.get(image, ()))), list(filter(kind, call.arguments["marks"])))
        for kind in (_is_box, _is_line)
    )
    conversation.kept[NAME] = {**before, len(conversation.images): [*boxes, *lines]}
    return Result(images=[drawn(conversation.images[image](), boxes, lines)])


def drawn(image: Image.Image, boxes: Sequence[Mark], lines: Sequence[Mark]) -> Image.Image:
    """A copy of an image with these marks, in its pixels."""
    from PIL import ImageDraw  # with FreeType: 15 ms

    image = image.convert("RGB")
    draw = ImageDraw.Draw(image)
    for at, each in enumerate(boxes):
        colour = _COLOURS[at % len(_COLOURS)]
        left, top, right, bottom = map(int, _scaled(each["bbox_2d"], image.size))
        (left, right), (top, bottom) = sorted((left, right)), sorted((top, bottom))
        draw.rectangle((left, top, right, bottom), outline=colour, width=_WIDTH)
        draw.text((left + _BESIDE[0], top + _BESIDE[1]), each["label"][:_LETTERS], fill=colour)
    for each in lines:
        ends = {colour: _scaled([*map(int, each[name])], image.size) for name, colour in _ENDS.items()}
        draw.line([*ends.values()], fill="black", width=_WIDTH)
        for colour, (x, y) in ends.items():
            draw.ellipse((x - _RADIUS, y - _RADIUS, x + _RADIUS, y + _RADIUS), fill=colour)
    return image


def _scaled(numbers: Sequence[float], size: Size) -> list[float]:
    """Numbers in pixels, brought to shares of the sides and back, as there: one may be under its whole number then."""
    return [each / size[at % 2] * size[at % 2] for at, each in enumerate(numbers)]


def _merged(before: Sequence[Mark], new: Sequence[Mark]) -> list[Mark]:
    """Marks by their labels, of which each is the last one, in the order in which they were first drawn."""
    return [*({each["label"]: each for each in before} | {each["label"]: each for each in new}).values()]


def _is_box(mark: Mark) -> bool:
    return _are_numbers(mark.get("bbox_2d"), 4)


def _is_line(mark: Mark) -> bool:
    return "bbox_2d" not in mark and all(_are_numbers(mark.get(name), 2) for name in _ENDS)


def _are_numbers(value: object, count: int) -> bool:
    return isinstance(value, list) and len(value) == count and all(_is_near(each) for each in value)


def _is_near(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= _FAR
