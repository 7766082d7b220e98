"""Boxes that are answers: read from a reply and from its row, and compared with each other.

In a reply they are JSON in any of the forms that published systems write: `[l, t, r, b]`, a list of such, one object or
a list of objects with the box as `Position`, `bbox_2d`, `box_2d`, `bbox` or `box`, or with its sides as `x1` to `y2`;
its confidence, `Confidence`, `confidence` or `score`, is 1 if there is none. Single quotes are read as double ones, and
a code fence is ignored. In a text that is not JSON each list of four numbers is a box (repeated lists count once), and
so is `(l,t),(r,b)`, as Qwen2-VL writes it. Boxes are in the coordinates of the prompt, and in its order of sides if
their sides have no names.

In a row they are `boxes`, a list, or `box`, each left, top, right, bottom in pixels of the first image's file.

Read `read_boxes` first; `_lists` finds the lists of numbers in a text.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import msgspec

from virc.core.errors import DataError
from virc.core.text import plain
from virc.reasoning.calls import BoxView, Size
from virc.reasoning.coordinates import NAMED_SIDES, corners_of, sides_of, written_as
from virc.reasoning.protocol import BoxForm
from virc.scoring.rules import same_signs

Box = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels of the first image's file."""

MAX_BOXES = 200
"""The most boxes of an answer, or of evidence, that are read: the time to match them grows with their number."""
_MAX_TEXT = 40_000
_KEYS = ("Position", "bbox_2d", "box_2d", "bbox", "box")
_CONFIDENCES = ("Confidence", "confidence", "score")
_FENCE = re.compile(r"\A\s*```\w{0,10}\s|```\s*\Z")
_DIGITS = r"-?\d{1,9}(?:\.\d{1,9})?"
_PAIR = rf"\(\s{{0,9}}({_DIGITS})\s{{0,9}},\s{{0,9}}({_DIGITS})\s{{0,9}}\)"
_CORNERS = re.compile(rf"{_PAIR}\s{{0,9}},\s{{0,9}}{_PAIR}")
_BETWEEN = r"(?:\s{0,9}[,;]\s{0,9}|\s{1,9})"
_LIST = re.compile(rf"[\[(]\s{{0,9}}({_DIGITS}(?:{_BETWEEN}{_DIGITS}){{1,3}})\s{{0,9}}[\])]")


class PredictedBox(msgspec.Struct, frozen=True):
    """A box of an answer, and its confidence, 0 to 1."""

    box: Box
    confidence: float = 1.0


def read_boxes(answer: str | None, view: BoxView, original: Size | None = None) -> list[PredictedBox]:
    """The boxes of an answer, in pixels of the first image's file; nothing in it raises.

    `original` is the size of that file, (width, height) in px; None: as the view says.
    """
    size = original or (view.originals[0] if view.originals else view.sizes[0])
    fours = _lists_of_four(answer, view.box)
    return [PredictedBox(in_pixels(numbers, view, size), confidence) for numbers, confidence in fours]


def read_point(answer: str | None, view: BoxView, original: Size) -> tuple[float, float] | None:
    """The point in an answer, `(x, y)` or `[x, y]`, in pixels of the first image's file; None if it has none."""
    numbers = next((each for each, _ in _lists(answer or "") if len(each) == 2), None)
    if numbers is None:
        return None
    (x, y), (width, height) = numbers, original
    across, down = sides_of(view.sizes[0], view.coordinates, original)
    return x * width / across, y * height / down  # in this order whole pixels stay whole


def has_boxes(text: str) -> bool:
    return text.strip() == "[]" or bool(_lists_of_four(text))


def meant_as_boxes(answer: str) -> str:
    """A sentence if a right answer looks like boxes, but is compared as a text; empty if it does not."""
    boxes = [box for box, _ in _lists_of_four(answer)] if answer.lstrip()[:1] in ("[", "(", "{") else []
    if not boxes:
        return ""
    written = json.dumps([[int(side) if side % 1 == 0 else side for side in box] for box in boxes[:3]])
    said = f"its answer {plain(answer, 40)!r} looks like a box, and is compared as a text"
    return f'{said}; what overlaps it is right where it is written as "boxes": {written}'


def boxes_of_row(columns: Mapping[str, Any]) -> list[Box] | None:
    """The boxes in these columns; None where there is neither `boxes` nor `box`, a DataError where one is wrong."""
    given = columns.get("boxes")
    if given is None and columns.get("box") is not None:
        given = [columns["box"]]
    if given is None:
        return None
    try:
        return msgspec.convert(given, list[Box])
    except msgspec.ValidationError:
        raise DataError("the row's boxes are no list of four numbers each", _as_boxes(given)) from None


def further_boxes(columns: Mapping[str, Any], name: str) -> list[Box]:
    """The boxes of `looks`, where an answer is seen, or of `crowd_boxes`, each around many objects."""
    try:
        return msgspec.convert(columns.get(name) or [], list[Box])
    except msgspec.ValidationError:
        raise DataError(f"the row's {name} are no list of four numbers each") from None


def _as_boxes(given: Any) -> str | None:
    """The hint how to write boxes that are one list of all numbers, or shapes of points; None for anything else."""
    try:
        is_flat = type(given[0]) in (int, float)
        lists = [given[at : at + 4] for at in range(0, len(given), 4)] if is_flat else given
        shapes = [[*chain.from_iterable(part if isinstance(part, list) else [part] for part in each)] for each in lists]
        boxes = [each if len(each) == 4 else _around_points(each[::2], each[1::2]) for each in shapes]
        msgspec.convert(boxes, list[Box])
    except (TypeError, ValueError, LookupError):
        return None
    if any(len(each) < 4 or len(each) % 2 for each in shapes):
        return None
    what = "a list of four numbers for each box" if is_flat else "of each outline its left, top, right, bottom"
    return f'write {what}: "boxes": {json.dumps(boxes[:3])}'


def _around_points(xs: list[Any], ys: list[Any]) -> list[Any]:
    return [min(xs), min(ys), max(xs), max(ys)]


def flaw_of(box: Box, size: Size, slack: tuple[float, float] = (1.0, 1.0)) -> str | None:
    """What is wrong with a box on a picture of `size` px: sides in the wrong order, or more than `slack` px outside."""
    for low, high, side, more in zip(box[:2], box[2:], size, slack, strict=True):
        if high < low:
            return "is turned round"
        if low < -more or high > side + more:
            return "is outside the picture"
    return None


def reference_boxes(fields: Mapping[str, Any]) -> tuple[Box, ...] | None:
    """The boxes that answers to a row are compared with; None if the right answer is a text.

    A row has them if it has `boxes` or `box`, no choices, and no `answer` in words. With an answer in words the boxes
    only say where it is seen (V*).
    """
    answer = fields.get("answer")
    in_words = answer is not None and not isinstance(answer, list | dict) and not has_boxes(str(answer))
    boxes = None if in_words or fields.get("choices") else boxes_of_row(fields)
    return None if boxes is None else tuple(boxes)


def iou(one: Box, other: Box) -> float:
    """Intersection over union, 0 to 1."""
    shared = intersection(one, other)
    union = area(one) + area(other) - shared
    return shared / union if union > 0 else 0.0


def giou(one: Box, other: Box) -> float:
    """IoU less the share of the smallest box around both that neither covers, -1 to 1.

    Source: Rezatofighi et al., Generalized Intersection over Union (arXiv:1902.09630), algorithm 1.
    """
    shared = intersection(one, other)
    union, whole = area(one) + area(other) - shared, area(_around(one, other))
    return (shared / union if union > 0 else 0.0) - ((whole - union) / whole if whole > 0 else 0.0)


def ciou(one: Box, other: Box) -> float:
    """IoU less the squared distance of the centres as a share of the diagonal around both, less an aspect term.

    Source: Zheng et al., Distance-IoU Loss (arXiv:1911.08287), equations 8 to 11: the term is a * v with v the squared
    difference of the angles of both diagonals, times 4 / pi^2, and a = v / (1 - IoU + v).
    """
    overlap, (left, top, right, bottom) = iou(one, other), _around(one, other)
    diagonal = (right - left) ** 2 + (bottom - top) ** 2
    across, down = one[0] + one[2] - other[0] - other[2], one[1] + one[3] - other[1] - other[3]
    distance = (across**2 + down**2) / 4  # of the centres, squared: the sums of sides are twice the centres
    angles = [math.atan2(max(0.0, box[2] - box[0]), max(0.0, box[3] - box[1])) for box in (one, other)]
    aspect = 4 / math.pi**2 * (angles[0] - angles[1]) ** 2
    weight = aspect / (1 - overlap + aspect) if aspect else 0.0
    return overlap - (distance / diagonal if diagonal else 0.0) - weight * aspect


def match(found: Sequence[PredictedBox], right: Sequence[Box], min_iou: float) -> list[tuple[PredictedBox, float]]:
    """Each box of an answer, highest confidence first, with its IoU to its match in the row, 0 without one.

    Greedy: each takes, of the boxes not yet taken, the one it overlaps most, if that IoU is over `min_iou`.
    """
    left = list(right)
    pairs = []
    for each in sorted(found, key=lambda one: -one.confidence):
        overlaps = [iou(each.box, box) for box in left]
        best = max(overlaps, default=0.0)
        if best > min_iou:
            left.pop(
                len(overlaps) - 1 - overlaps[::-1].index(best)
            )  # of equals the last, as pycocotools 2.0.11 takes it
        pairs.append((each, best if best > min_iou else 0.0))
    return pairs


def is_crowd(box: Box, crowds: Sequence[Box], min_share: float) -> bool:
    """Whether a crowd box has over that share of a box, as pycocotools' cocoeval.py measures it."""
    return area(box) > 0 and any(intersection(box, crowd) / area(box) > min_share for crowd in crowds)


def distinct(found: Sequence[PredictedBox]) -> list[PredictedBox]:
    first: dict[Box, PredictedBox] = {}
    for each in found:
        first.setdefault(each.box, each)
    return list(first.values())


def area(box: Box) -> float:
    """In square pixels; 0 if the sides are in the wrong order."""
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])


def intersection(one: Box, other: Box) -> float:
    """The area of the intersection, in square pixels."""
    return area((max(one[0], other[0]), max(one[1], other[1]), min(one[2], other[2]), min(one[3], other[3])))


def _around(one: Box, other: Box) -> Box:
    return min(one[0], other[0]), min(one[1], other[1]), max(one[2], other[2]), max(one[3], other[3])


def in_pixels(numbers: Sequence[float], view: BoxView, original: Size) -> Box:
    """A box as it is written, in pixels of the first image's file, which has `original`."""
    left, top, right, bottom = corners_of(numbers, view.box)
    (width, height) = original
    across, down = sides_of(view.sizes[0], view.coordinates, original)
    return left * width / across, top * height / down, right * width / across, bottom * height / down


_Numbers = tuple[Sequence[float], float]
"""A list of numbers in an answer, and its confidence, 0 to 1."""


def _lists_of_four(text: str | None, form: BoxForm = "corners") -> list[_Numbers]:
    lists = _lists(_CORNERS.sub(r"[\1, \2, \3, \4]", text or ""), form)
    return [(numbers, confidence) for numbers, confidence in lists if len(numbers) == 4][:MAX_BOXES]


def _lists(text: str, form: BoxForm = "corners") -> list[_Numbers]:
    """Every list of one to four numbers in an answer; named sides are put in the order of `form`."""
    if len(text) > _MAX_TEXT:
        return []
    bare = _FENCE.sub("", text).strip()
    for each in (bare, bare.replace("'", '"')):
        try:
            value = json.loads(each)
        except (ValueError, RecursionError):  # not JSON, or a number of thousands of digits; nested too deeply
            continue
        return [*_of_json(value, form)]
    written = (re.split(_BETWEEN, found[1]) for found in _LIST.finditer(same_signs(text)))
    return [([*numbers], 1.0) for numbers in dict.fromkeys(tuple(map(float, each)) for each in written)]


def _of_json(value: Any, form: BoxForm) -> Iterator[_Numbers]:
    is_one = _numbers(value) is not None or not isinstance(value, list)
    for each in [value] if is_one else value:
        is_object = isinstance(each, dict)
        numbers = _numbers_of_object(each, form) if is_object else _numbers(each)
        if numbers is not None:
            yield numbers, _confidence(each) if is_object else 1.0


def _numbers_of_object(fields: dict[str, Any], form: BoxForm) -> Sequence[float] | None:
    for key in _KEYS:
        if key in fields:
            return _numbers(fields[key])
    sides = next((sides for sides in NAMED_SIDES if {*sides} <= fields.keys()), None)
    numbers = _numbers([fields[side] for side in sides]) if sides else None
    return None if numbers is None else written_as(numbers, form)


def _confidence(fields: dict[str, Any]) -> float:
    known = _numbers([next((fields[key] for key in _CONFIDENCES if key in fields), 1.0)])
    return min(1.0, max(0.0, known[0])) if known else 0.0


def _numbers(value: Any) -> list[float] | None:
    if not isinstance(value, list) or not 1 <= len(value) <= 4:
        return None
    if any(type(each) not in (int, float) or not -1e9 < each < 1e9 for each in value):
        return None
    return [float(each) for each in value]
