"""Which columns of a row hold a part of its problem, and are not read.

`unread` goes through the columns that nothing names: `meaning` says what each holds, by its value or its name, and
`_is_read` whether the record has that already.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from virc.core import taken
from virc.core.files import as_named, is_file
from virc.data.rows.laid_out import CONTENTS, IMAGE_NAMES, is_image
from virc.data.rows.record import Record
from virc.solving.rows import LETTERS
from virc.solving.sources.columns import is_base64_image, lettered, unused_texts
from virc.solving.sources.picture_files import ENDINGS, is_picture
from virc.systems.layouts.layout import listed, value_of

KNOWN = frozenset((
    "id", "choices", "answers", "boxes", "box", "crowd_boxes", "counterfactual", "file_sizes", "turn", "tool_info_gt",
    "image_places", "image_media",
))  # fmt: skip
"""Columns that all formats of virc write, each with one meaning."""
PASSED = KNOWN - {"choices", "answers", "boxes", "box"}
"""Columns that a layout of other rows need not name; without one of the rest it would lose a part of the problem."""
PICTURES, CHOICES, ANSWERS, BOXES, QUESTIONS, MASKS = "pictures", "choices", "answers", "boxes", "questions", "masks"
SYSTEM, TEXT = "a system message", "a text that belongs to the question"
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
    "tools": re.compile(r"tools?(?:list|schemas?|definitions?|offered)?|functions"),
    "videos": re.compile(r"videos?(?:path|file|url)?"),
}
"""Meaning -> the names of its columns, written small and without spaces, dashes, dots and underscores."""
_OF_CHOICES = re.compile(r"option|choice|candidate|distractor")
_NUMBERS = re.compile(r"\s*[\[(<{\s]{0,4}[^\d\[\](){}<>]{0,20}(?:-?\d[\d.]*[\s,]+){3}-?\d")
_LEARNT = frozenset((
    "loss", "weight", "train", "training", "trainable", "train_on_turn", "loss_mask", "mask", "learn",
))  # fmt: skip
"""Whether a reply is to be learnt, in messages: engines learn every reply, as if all were 1 or true."""
_UNLEARNT = "a reply that is not to be learnt"
_ASKING = frozenset(("user", "human", "system"))
_OF_IMAGES = frozenset(("url", "path", "bytes"))
_OF_OBJECTS = frozenset(("ref", "bbox", "image_id", "bbox_type"))
_MAX_SEEN = 64  # elements of a list that are looked at
_MAX_DEPTH = 2  # objects within each other that are looked into


def unread(row: Mapping[str, Any], named: Collection[str], record: Record | None, folder: Path) -> dict[str, str]:
    """Each column that is not read, with what it holds; a value that stands in the record is not missing."""
    found: dict[str, str] = {}
    for name, value in row.items():
        if name not in named and value is not None:
            found.update(_unread_in(name, value, named, record, folder, _MAX_DEPTH))
    if record is not None and not record.images:  # a path may be wrong: the name of a picture is enough
        texts = {name: each for name, each in row.items() if name not in named and isinstance(each, str)}
        called = (name for name, text in texts.items() if len(text) < 1024 and Path(text).suffix.lower() in ENDINGS)
        found = dict.fromkeys(called, PICTURES) | found
    if record is not None and record.question and not record.messages:
        left = (name for name in unused_texts(row, record.question) if name not in named)
        found |= dict.fromkeys(left, TEXT)
    letters = lettered(row)
    if letters[:1] == ["a"] and (any(map(named.__contains__, letters)) or record is None or record.messages):
        letters = []  # the columns a, b and so on are no choices, such as q and a for question and answer
    return found | dict.fromkeys((each for each in letters if each not in named and _has_value(row[each])), CHOICES)


def left_in_messages(
    row: Mapping[str, Any], named: Collection[str], tags: Sequence[str] = ()
) -> dict[str, tuple[str, str]]:
    """What messages in these columns have and nothing reads, by dotted name: its edge, and what it holds if the row is
    wrong without it."""
    found: dict[str, tuple[str, str]] = {}
    for column in named:
        value = value_of(row, column)
        value = listed(value) if isinstance(value, str) and value[:1] in ("[", "{") else value
        if isinstance(value, dict) and isinstance(value.get("bbox"), list):
            found |= {f"{column}.{name}": ("objects", "") for name in taken.left("objects", value, _OF_OBJECTS)}
        for turn in value if isinstance(value, list) else [value]:
            if isinstance(turn, dict) and not turn.keys().isdisjoint(("role", "from", *tags)):
                for edge, name in _left_in(turn, tags):
                    is_mark = edge == "message" and name in _LEARNT
                    holds = _UNLEARNT if is_mark else "a part of messages" * taken.is_refused(edge, name)
                    found[f"{column}.{name}"] = edge, holds
    return found


def _left_in(turn: Mapping[str, Any], tags: Sequence[str]) -> Iterator[tuple[str, str]]:
    role, content = _first(turn, (*tags[:1], "role", "from")), _first(turn, (*tags[1:], *CONTENTS))
    for name in taken.left("message", turn, (role, content)):
        is_all = turn.get(role) in _ASKING or str(turn[name]).lower() in ("true", "1", "1.0")
        if name not in _LEARNT or not is_all:
            yield "message", name
    parts = turn.get(content)
    for part in parts if isinstance(parts, list) else ():
        if isinstance(part, dict):
            used = _first(part, IMAGE_NAMES) if is_image(part) else "text"
            names = taken.left("part", part, ("type", used))
            if isinstance(image := part.get(used), dict):
                names += taken.left("part", image, _OF_IMAGES)
            yield from (("part", name) for name in names)


def _first(fields: Mapping[str, Any], names: Iterable[str]) -> str:
    """The first of the names under which there is a value."""
    return next((name for name in names if fields.get(name) is not None), "")


def meaning(name: str, value: Any, folder: Path) -> str | None:
    """What a column holds, by its value where that is a picture, else by its name; None where it is none of these."""
    if holds_pictures(value, folder):
        return MASKS if _by_name(name) == MASKS else PICTURES
    means = _by_name(name) or (QUESTIONS if _has_questions([value] if name.isdigit() else value) else None)
    if means is None and _has_choices(name, listed(value) if isinstance(value, str) and len(value) < 4096 else value):
        return CHOICES
    if means is None or not _has_value(value) or (means == SYSTEM and not isinstance(value, str)):
        return None
    if means == ANSWERS and isinstance(value, list) and isinstance(value[0], dict) and "answer" not in name.lower():
        return None  # such as labels in a figure
    if means == BOXES:
        return means if _has_numbers(value) else None
    return means


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
    return isinstance(value, list) and any(holds_pictures(each, folder) for each in value[:_MAX_SEEN])


def _unread_in(
    name: str, value: Any, named: Collection[str], record: Record | None, folder: Path, depth: int
) -> Mapping[str, str]:
    """The column of that dotted name, or the keys within it, that are not read; see `unread`."""
    if type(value) in (int, float, bool) and _by_name(name) is None:
        return {}
    if isinstance(value, dict | list) and any(each.startswith(f"{name}.") for each in named):
        value = {str(at): each for at, each in enumerate(value[:_MAX_SEEN])} if isinstance(value, list) else value
    elif means := meaning(name.rpartition(".")[2], value, folder):
        return {} if _is_read(name, value, means, record) else {name: means}
    if not isinstance(value, dict) or not depth:
        return {}
    found: dict[str, str] = {}
    for key, each in value.items():
        if (inner := f"{name}.{key}") not in named and each is not None:
            found.update(_unread_in(inner, each, named, record, folder, depth - 1))
    return found


def _is_read(name: str, value: Any, means: str, record: Record | None) -> bool:
    """Whether what a column holds stands in the record already."""
    if record is None or means not in (ANSWERS, QUESTIONS, CHOICES):
        contents = [each.content for each in record.messages] if record is not None and means == SYSTEM else []
        # a problem without messages gets the system message of its chat protocol
        return value in contents or (means == SYSTEM and not contents)
    answered = record.messages and (record.messages[-1].role == "assistant" or record.answer is not None)
    if answered and means != QUESTIONS:
        # a conversation contains its answers; true or false says how good it is, which it does not contain
        return not isinstance(value, bool)
    more = record.extra.get("choices" if means == CHOICES else "answers") or ()
    in_record = {*map(str, more), *(() if means == CHOICES else (record.answer, record.question))}
    values = value if isinstance(value, list) else [value]
    are_letters = isinstance(value, list) and len(value) > 1 and value == list(LETTERS[: len(value)])
    if are_letters or (means == ANSWERS and value == record.extra.get("boxes")):
        return True  # the letters of choices, or the answer is where something is
    if record.answer is not None and name.lower() == "solution":
        return True  # the steps to the answer
    if means == QUESTIONS and record.question and _asks(value, record.question):
        return True
    return all(isinstance(each, str | int | float) and str(each).strip() in in_record for each in values)


def _asks(value: Any, question: str) -> bool:
    """Whether it is a conversation of nothing but this question, with or without a system message."""
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        return False
    turns = [each for each in value if each.get("role", each.get("from")) != "system"]
    return len(turns) == 1 and question in str(turns[0].get("content", turns[0].get("value")))


def _has_questions(value: Any) -> bool:
    keys = {"question", "questions", "user", "query", "sent", "raw"}
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict) and not keys.isdisjoint(value[0])


def _has_choices(name: str, value: Any) -> bool:
    if not isinstance(value, list) or len(value) < 2 or not all(isinstance(each, str) for each in value):
        return False
    return bool(_OF_CHOICES.search(name.lower())) or all(map(re.match, (r"\(?A[).:]", r"\(?B[).:]"), value))


def _has_value(value: Any) -> bool:
    return value not in (None, "", "[]", [], {})


def _has_numbers(value: Any) -> bool:
    """Whether it is four numbers, holds some, or is text that begins with some."""
    if isinstance(value, str):
        return bool(_NUMBERS.match(value))
    inner = list(value.values()) if isinstance(value, dict) else value
    if not isinstance(inner, list):
        return False
    numbers = [each for each in inner[:_MAX_SEEN] if type(each) in (int, float)]
    return len(numbers) >= 4 or any(_has_numbers(each) for each in inner[:_MAX_SEEN] if isinstance(each, list | dict))


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
def _by_name(name: str) -> str | None:
    key = re.sub(r"[^a-z0-9]", "", name.lower())
    if re.fullmatch(r".*_q\d*|[qQ]\d+", name):
        return QUESTIONS
    return next((means for means, pattern in _MEANINGS.items() if pattern.fullmatch(key)), None)
