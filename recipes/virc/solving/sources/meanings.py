"""What a column of a row holds that belongs to a problem, by its value and its name."""

import re
from collections.abc import Collection, Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from virc.core.files import as_named, is_file
from virc.solving.sources.columns import is_base64_image
from virc.solving.sources.picture_files import ENDINGS, is_picture
from virc.systems.layouts.layout import listed

KNOWN = frozenset((
    "id", "choices", "answers", "boxes", "box", "crowd_boxes", "counterfactual", "file_sizes", "turn", "tool_info_gt",
    "image_places", "image_media",
))  # fmt: skip
"""Columns that all formats of virc write, each with one meaning."""
PICTURES, CHOICES, ANSWERS, BOXES, QUESTIONS, MASKS = "pictures", "choices", "answers", "boxes", "questions", "masks"
SYSTEM, TEXT = "a system message", "a text that belongs to the question"
TOOLS, VIDEOS, BYTES = "tools", "videos", "bytes"
_MEANINGS: Mapping[str, re.Pattern[str]] = {
    CHOICES: re.compile(
        r"(?:answer|mc|multi|multiple)?(?:choices?|options?|candidates?)(?:list|text|texts|[a-h1-8])?|mctargets?"
        r"|(?:a|ans|opt|distractors?)\d|opt[a-h]|distractors?|(?:wrong|false|incorrect)(?:answers?|options?|choices?)\d?"
    ),
    ANSWERS: re.compile(
        r"(?:gt|gpt|gold|correct|right|true|final|reference|target|short|direct|multiplechoice|groundtruth|accepted|acceptable|valid|possible|all)?"
        r"answers?\d{0,2}(?:idx|index|key|text|letter|list|option|aliases)?"
        r"|(?:correct|gold|right|answer)(?:choice|option|label|letter)?(?:idx|index)|(?:correct|right)(?:choice|option|label)"
        r"|groundtruths?|gt|gts|labels?|solution|targets?"
    ),
    BOXES: re.compile(
        r"\w*b?box(?:es)?(?:2d|xyxy|xywh|list)?|bboxs|\w*boundingbox(?:es)?|\w*(?:instances?|regions?|rois?|rects?|coordinates)"
    ),
    QUESTIONS: re.compile(
        r"questions|question\d+|subquestions?|followups?|qas?|qapairs|questionanswers?|conversations?|messages|"
        r"dialog(?:ue)?s?|history|turns|rounds"
    ),
    MASKS: re.compile(r"\w*masks?|segmentations?|\w*grounding|\w*rle|polygons?"),
    "replies": re.compile(
        r"rejected(?:response|reply|answer|output|message|conversation|completion)s?|completions?|ktotag"
    ),
    SYSTEM: re.compile(r"system(?:prompt|message|instruction)?s?"),
    TOOLS: re.compile(r"tools?(?:list|schemas?|definitions?|offered)?|functions"),
    VIDEOS: re.compile(r"(?:videos?|audios?)(?:path|file|url)?"),
}
"""Meaning -> the names of its columns, written small and without spaces, dashes, dots and underscores."""
_OF_CHOICES = re.compile(r"option|choice|candidate|distractor")
_NUMBERS = re.compile(r"\s*[\[(<{\s]{0,4}[^\d\[\](){}<>]{0,20}(?:-?\d[\d.]*[\s,]+){3}-?\d")
_CORNERS = ({"xmin", "ymin"}, {"x1", "y1"}, {"left", "top"}, {"x", "y", "width", "height"}, {"x", "y", "w", "h"})
"""Keys of an object that is a box."""
_OF_TEXTS = frozenset(("text", "word", "letter"))
_OF_QUESTION = frozenset((PICTURES, CHOICES, BOXES, QUESTIONS, MASKS, SYSTEM, TOOLS, VIDEOS, BYTES))
_BESIDE = re.compile(r"pages|frames|examples|shots|demonstrations")
"""Names of what a question may be asked with, besides those of `_MEANINGS`."""
_MAX_TEXT = 4096  # characters of a list that is written as text
MAX_SEEN = 64  # elements of a list that are looked at


def meaning(name: str, value: Any, folder: Path) -> str | None:
    """What a column holds, by its value where that is a picture, else by its name; None where it is none of these."""
    if holds_pictures(value, folder):
        return MASKS if by_name(name) == MASKS else PICTURES
    if isinstance(value, bytes):
        return BYTES if value else None
    elements = listed(value) if isinstance(value, str) and len(value) < _MAX_TEXT else value
    if isinstance(elements, list) and any(isinstance(each, dict) and _has_box(each) for each in elements[:MAX_SEEN]):
        return BOXES
    means = by_name(name) or (QUESTIONS if _has_questions([value] if name.isdigit() else value) else None)
    if means is None and _has_choices(name, elements):
        return CHOICES
    # labels in a figure are no answers
    are_objects = isinstance(value, list) and bool(value) and isinstance(value[0], dict)
    is_none = (
        not has_value(value)
        or (means == SYSTEM and not isinstance(value, str))
        or (means == ANSWERS and are_objects and "answer" not in name.lower())
        or (means == BOXES and not _has_numbers(value))
    )
    return None if is_none else means


def unasked(fields: Mapping[str, Any], read: Collection[str], folder: Path) -> list[str]:
    """The columns that hold a part of a question and are not `read`."""
    others = {name: value for name, value in fields.items() if name not in read and name not in KNOWN}
    return [
        name
        for name, value in others.items()
        if has_value(value)
        and (meaning(name, value, folder) in _OF_QUESTION or (isinstance(value, list) and _BESIDE.fullmatch(name)))
    ]


def holds_pictures(value: Any, folder: Path) -> bool:
    """Whether a value is a picture or a list of some, also as text: bytes, base64, a data URL, the path of a file."""
    if isinstance(value, str) and value[:1] == "[":
        value = listed(value)
    if isinstance(value, str):
        return _is_path(value, folder) if len(value) < 1024 else is_base64_image(value) or value[:5].lower() == "data:"
    if isinstance(value, bytes):
        return is_picture(value[:16])
    if isinstance(value, dict):
        data, path = value.get("bytes"), value.get("path")
        return set(value) <= {"bytes", "path"} and (bool(data) or (isinstance(path, str) and _is_path(path, folder)))
    return isinstance(value, list) and any(holds_pictures(each, folder) for each in value[:MAX_SEEN])


def _has_questions(value: Any) -> bool:
    keys = {"question", "questions", "user", "query", "sent", "raw"}
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict) and not keys.isdisjoint(value[0])


def _has_choices(name: str, value: Any) -> bool:
    if not isinstance(value, list) or len(value) < 2 or not all(isinstance(each, str) for each in value):
        return False
    return bool(_OF_CHOICES.search(name.lower())) or all(map(re.match, (r"\(?A[).:]", r"\(?B[).:]"), value))


def has_value(value: Any) -> bool:
    return value not in (None, "", "[]", [], {})


def _has_box(fields: Mapping[str, Any]) -> bool:
    """Whether an object has a box: one by its name (COCO), corners (VOC), or points (labelme), and is no text there."""
    if not _OF_TEXTS.isdisjoint(fields):
        return False  # where the picture shows which text, as OCR and drawn problems say it, is no answer
    numbers = {name for name, value in fields.items() if type(value) in (int, float)}
    points = fields.get("points")
    return (
        any(corners <= numbers for corners in _CORNERS)
        or (isinstance(points, list) and len(points) > 1)
        or any(
            by_name(name) == BOXES and _has_numbers(value) for name, value in fields.items() if isinstance(name, str)
        )
    )


def _has_numbers(value: Any) -> bool:
    """Whether it is four numbers, holds some, or is text that begins with some."""
    if isinstance(value, str):
        return bool(_NUMBERS.match(value))
    inner = list(value.values()) if isinstance(value, dict) else value
    if not isinstance(inner, list):
        return False
    numbers = [each for each in inner[:MAX_SEEN] if type(each) in (int, float)]
    return len(numbers) >= 4 or any(_has_numbers(each) for each in inner[:MAX_SEEN] if isinstance(each, list | dict))


def _is_path(text: str, folder: Path) -> bool:
    stem, dot, ending = text.rpartition(".")
    if text[:5].lower() == "data:":
        return True
    if not dot or not stem or f".{ending.lower()}" not in ENDINGS or "\0" in text:
        return is_base64_image(text)
    with suppress(OSError):
        return is_file(as_named(folder, text))
    return True  # several have that name


@lru_cache(4096)
def by_name(name: str) -> str | None:
    key = re.sub(r"[^a-z0-9]", "", name.lower())
    if re.fullmatch(r".*_q\d*|[qQ]\d+", name):
        return QUESTIONS
    return next((means for means, pattern in _MEANINGS.items() if pattern.fullmatch(key)), None)
