r"""The verdicts of the published reward, quirks included: `strict: published`.

Source of all of it: Leon-LihongWang/ViRC, src/train/reward_for_scale_dynamic.py and reward_for_scale_fixed.py, read
at commit e080c15. The code here is our own; each quirk is listed once, in `QUIRKS`.
"""

import json
import math
import re
from contextlib import suppress
from typing import Any

from PIL import Image

from virc.reasoning import messages
from virc.reasoning.calls import Box, Call, Size, ToolError, View
from virc.reasoning.coordinates import scale_box, sides_of
from virc.reasoning.images import Shown
from virc.reasoning.messages import FormatError, ToolText, Turn
from virc.reasoning.resize import QWEN2, smart_resize, too_long

QUIRKS = {
    "repeat_in_line": "a pattern that is repeated 8 times in a row is found within one line only",
    "repeat_of_anything": "eight spaces or dashes are such a pattern",
    "text_around_tags": "text before, between and after the two pairs of tags is ignored",
    "true_is_one": "true is a whole number, 1, where an index or a coordinate is meant",
    "float_box": "coordinates of a box may be fractions",
    "index_from_end": "a negative image_index counts from the end",
    "factor_between": "a factor of 0.25 to 0.5 or 1.5 to 4 counts that no tool offers",
    "permille_as_pixels": "a box in thousandths is checked against the width and height of the file in pixels",
    "sizes_of_files": "boxes are checked against the size of the file, whatever size it was shown at",
    "last_box_counts": r"of several \boxed{} the last counts, and of nested ones the innermost",
    "range_for_reasoning": "of a range a-b the reasoning score is a; outside 0 to 1 it is 0, and not asked again",
    "range_for_focus": "a range is no focus score: the judge is asked again",
    "exact_one": "the judge of an answer must say 1 or 0: 1.0 is asked again",
    "unread_is_zero": "a judge that gives no score in 4 tries has given 0",
    "empty_answer": "an empty answer is judged like any other",
    "raises_for_index": "a negative image_index beyond the first image has 0, as the program raises",
    "raises_for_picture": "a call whose result cannot be shown has 0, as the program raises",
    "raises_without_reference": "a tool call has 0 where the row has no tool_info_gt, as the program raises",
}
"""What one would not expect of it, by name.

In the last three it raises, which its reward manager (`prime` of verl) turns into 0; the judge is not asked then.
"""
DIFFERENCE = "a picture that its EXIF data turn is shown and checked upright; the program takes it as the file has it"
"""Where the verdict is not the published one, on purpose: its boxes would be of another picture than the model saw."""

_TOOL = re.compile(r"<tool_call>(.*?)</tool_call>", re.DOTALL)
_ARGUMENTS = {"crop_image": {"bbox_2d"}, "scale_image": {"scale_factor"}, "display_image": set[str]()}
_BOXED = "\\boxed{"


class RaisedError(ToolError):
    """The published program raises here."""


def parse(text: str) -> Turn:
    """Read a reply as `messages.parse` does, but with the JSON of the call as Python reads it."""
    try:
        return messages.parse(text)
    except FormatError as error:
        value = None
        if error.kind != "tags":
            with suppress(ValueError, RecursionError):  # too many digits, too deep
                value = json.loads(_TOOL.findall(text)[0])
        if not isinstance(value, dict) or set(value) != {"name", "arguments"}:
            raise
        if not isinstance(value["name"], str) or not isinstance(value["arguments"], dict):
            raise
    think = text.split("<think>", 1)[1].split("</think>", 1)[0].strip()
    return Turn(think, (ToolText(value["name"], value["arguments"]),))


def check(tool: ToolText, view: View) -> Call:
    """The call, if the published program finds no fault. Raises RaisedError where it raises, ToolError: a fault."""
    if tool.name not in _ARGUMENTS:
        raise ToolError("there is no such tool")
    if set(tool.arguments) != {"image_index", *_ARGUMENTS[tool.name]}:
        raise ToolError(f"the arguments of {tool.name} are not exactly those it takes")
    index, count = tool.arguments["image_index"], len(view.sizes)
    if not isinstance(index, int):
        raise ToolError("image_index is no whole number")
    factor = _factor(tool.arguments["scale_factor"]) if tool.name == "scale_image" else None
    corners = _corners(tool.arguments["bbox_2d"]) if tool.name == "crop_image" else None
    if index >= count:
        raise ToolError(f"there is no image {str(index)[:20]}, only 0 to {count - 1}")
    if index < -count:
        raise RaisedError(f"there is no image {str(index)[:20]} counted from the end")
    index = int(index) % count
    size = view.sizes[index]
    call = Call(tool.name, index, _box(corners, size, view) if corners else None, factor)
    for each in (_made(call, size), view.sizes[0]):
        _displayed(*each)
    return call


def apply(call: Call, image: Image.Image) -> Shown:
    """The result of a valid call as the judge of the focus sees it: factors as written, Lanczos for both ways."""
    size = _displayed(*_made(call, image.size))
    cut = image.crop(call.box) if call.box else image
    return Shown(cut.resize(size, Image.Resampling.LANCZOS), call.index, call.box)


def boxed(text: str) -> str | None:
    r"""The content of the last `\boxed{}`, stripped; None where there is none, or it has no end."""
    start = text.rfind(_BOXED) + len(_BOXED)
    if start < len(_BOXED):
        return None
    depth = 1
    for at in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[at], 0)
        if depth == 0:
            return text[start:at].strip()
    return None


def read_verdict(text: str) -> float | None:
    """1.0 or 0.0, the verdict of a judge of an answer; None where it gave neither."""
    return {"1": 1.0, "0": 0.0}.get(boxed(text) or "")


def read_focus(text: str) -> float | None:
    """The score from 0 to 1 in a judge's reply; None where it holds none."""
    return _score(boxed(text))


def read_reasoning(text: str) -> float | None:
    """As `read_focus`; of a range, its lower end, or 0 where that is no score."""
    grade = boxed(text)
    if grade is None or "-" not in grade:
        return _score(grade)
    try:
        lower = float(grade.split("-")[0])
    except ValueError:
        return None
    return lower if 0 <= lower <= 1 else 0.0


def _score(grade: str | None) -> float | None:
    try:
        value = float(grade or "")
    except ValueError:
        return None
    return value if 0 <= value <= 1 else None


def _factor(value: Any) -> float:
    if not isinstance(value, int | float) or not (0.25 <= value <= 0.5 or 1.5 <= value <= 4):
        raise ToolError("scale_factor is neither from 0.25 to 0.5 nor from 1.5 to 4")
    return float(value)


def _corners(value: Any) -> list[float]:
    if not isinstance(value, list) or len(value) != 4 or not all(isinstance(c, int | float) for c in value):
        raise ToolError("bbox_2d is not four numbers")
    return value


def _box(corners: list[float], size: Size, view: View) -> Box:
    left, top, right, bottom = corners
    if not (0 <= left < right <= size[0] and 0 <= top < bottom <= size[1]):
        raise ToolError(f"bbox_2d is empty or leaves the image of {size[0]} x {size[1]} px")
    permille = view.coordinates == "permille"
    scaled = scale_box(corners, sides_of(size, "permille"), size) if permille else list(map(round, corners))
    box = (scaled[0], scaled[1], min(scaled[2], size[0]), min(scaled[3], size[1]))
    if box[0] >= box[2] or box[1] >= box[3]:
        raise RaisedError("its result has no pixel")
    return box


def _made(call: Call, size: Size) -> tuple[float, float]:
    """(width, height) in px of a call's result before it is brought to the patch grid; parts of pixels count."""
    if call.box:
        return call.box[2] - call.box[0], call.box[3] - call.box[1]
    factor = call.factor or 1.0
    return size[0] * factor, size[1] * factor


def _displayed(width: float, height: float) -> Size:
    """(width, height) in px on the patch grid; sides under one patch make it raise for less than others do."""
    grow = max(QWEN2.factor / width, QWEN2.factor / height)
    if grow > 1:
        width, height = math.ceil(width * grow), math.ceil(height * grow)
    if too_long(width, height):
        raise RaisedError("it is too long to be shown")
    return smart_resize(width, height)
