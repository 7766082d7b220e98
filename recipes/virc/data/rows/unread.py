"""Which columns of a row hold a part of its problem, and are not read.

`unread` goes through the columns that nothing names: `meaning` says what each holds, by its value or its name, and
`_is_read` whether the record has that already.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from virc.config import taken
from virc.data.rows.laid_out import CONTENTS, IMAGE_NAMES, is_image
from virc.data.rows.record import Record
from virc.solving.rows import LETTERS
from virc.solving.sources import meanings
from virc.solving.sources.columns import lettered, unused_texts
from virc.solving.sources.picture_files import ENDINGS
from virc.systems.layouts.layout import listed, value_of

PASSED = meanings.KNOWN - {"choices", "answers", "boxes", "box"}
"""Columns that a layout of other rows need not name; without one of the rest it would lose a part of the problem."""
_LEARNT = frozenset((
    "loss", "weight", "train", "training", "trainable", "train_on_turn", "loss_mask", "mask", "learn",
))  # fmt: skip
"""Whether a reply is to be learnt, in messages: engines learn every reply, as if all were 1 or true."""
_UNLEARNT = "a reply that is not to be learnt"
_OF_ROLES = {"assistant": ("tool_calls",), "gpt": ("tool_calls",), "tool": ("name", "tool_call_id")}
_ASKING = frozenset(("user", "human", "system"))
_OF_IMAGES = frozenset(("url", "path", "bytes"))
_OF_OBJECTS = frozenset(("ref", "bbox", "image_id", "bbox_type"))
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
        found = dict.fromkeys(called, meanings.PICTURES) | found
    if record is not None and record.question and not record.messages:
        left = (name for name in unused_texts(row, record.question) if name not in named)
        found |= dict.fromkeys(left, meanings.TEXT)
    letters = lettered(row)
    if letters[:1] == ["a"] and (any(map(named.__contains__, letters)) or record is None or record.messages):
        letters = []  # the columns a, b and so on are no choices, such as q and a for question and answer
    return found | dict.fromkeys(
        (each for each in letters if each not in named and meanings.has_value(row[each])), meanings.CHOICES
    )


def left_in_messages(
    row: Mapping[str, Any], named: Collection[str], tags: Sequence[str] = ()
) -> dict[str, tuple[str, str]]:
    """What messages in these columns have and nothing reads, by dotted name: its edge, and what it holds if the row is
    wrong without it."""
    found: dict[str, tuple[str, str]] = {}
    for column in named:
        value = value_of(row, column) if "." in column else row.get(column)
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
    for name in taken.left("message", turn, (role, content, *_OF_ROLES.get(str(turn.get(role)), ()))):
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


def _unread_in(
    name: str, value: Any, named: Collection[str], record: Record | None, folder: Path, depth: int
) -> Mapping[str, str]:
    """The column of that dotted name, or the keys within it, that are not read; see `unread`."""
    if name in _LEARNT and record and record.messages and value in (0, "0", "false"):
        return {name: _UNLEARNT}
    if type(value) in (int, float, bool) and meanings.by_name(name) is None:
        return {}
    if isinstance(value, dict | list) and any(each.startswith(f"{name}.") for each in named):
        value = (
            {str(at): each for at, each in enumerate(value[: meanings.MAX_SEEN])} if isinstance(value, list) else value
        )
    elif means := meanings.meaning(name.rpartition(".")[2], value, folder):
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
    if record is None or means not in (meanings.ANSWERS, meanings.QUESTIONS, meanings.CHOICES):
        contents = [each.content for each in record.messages] if record is not None and means == meanings.SYSTEM else []
        # a problem without messages gets the system message of its chat protocol
        pictures = [image.name for image in record.images] if record and means == meanings.PICTURES else []
        is_tools = name == "tools" and record is not None and bool(record.tools)
        return is_tools or value in (*contents, *pictures, pictures) or (means == meanings.SYSTEM and not contents)
    answered = record.messages and (record.messages[-1].role == "assistant" or record.answer is not None)
    if answered and means != meanings.QUESTIONS:
        # a conversation contains its answers; true or false says how good it is, which it does not contain
        return not isinstance(value, bool)
    more = record.extra.get("choices" if means == meanings.CHOICES else "answers") or ()
    in_record = {*map(str, more), *(() if means == meanings.CHOICES else (record.answer, record.question))}
    values = value if isinstance(value, list) else [value]
    are_letters = isinstance(value, list) and len(value) > 1 and value == list(LETTERS[: len(value)])
    if are_letters or (means == meanings.ANSWERS and value == record.extra.get("boxes")):
        return True  # the letters of choices, or the answer is where something is
    if record.answer is not None and name.lower() == "solution":
        return True  # the steps to the answer
    if means == meanings.QUESTIONS and record.question and _asks(value, record.question):
        return True
    return all(isinstance(each, str | int | float) and str(each).strip() in in_record for each in values)


def _asks(value: Any, question: str) -> bool:
    """Whether it is a conversation of nothing but this question, with or without a system message."""
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        return False
    turns = [each for each in value if each.get("role", each.get("from")) != "system"]
    return len(turns) == 1 and question in str(turns[0].get("content", turns[0].get("value")))
