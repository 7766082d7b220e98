"""Which columns of a row are its id, its image and its question, under the names that they usually have."""

import base64
import re
import shlex
from collections.abc import Collection, Mapping, Sequence
from itertools import takewhile
from typing import Any

import msgspec

from virc.core.errors import DataError, UsageError
from virc.core.text import plain
from virc.solving.rows import LETTERS, Row, as_row, choices_in
from virc.systems.layouts.layout import elements_of
from virc.systems.layouts.layout import listed as listed_in

FIELDS = ("id", "image", "question", "choices")
_IMAGES = ("image", "images")
_USUAL: Mapping[str, str] = {
    "id": "id questionid qid uid uuid sampleid problemid rowid index idx",
    "image": (
        "image images imagepath imagepaths imagefile imagefilename imagename imageurl imageurls img imgs imgpath "
        "imgpaths imgurl picture pictures photo photos figure path paths file files filename filepath url"
    ),
    "question": "question query prompt problem text instruction",
    "choices": "choices options candidates",
}
"""Field -> the names of its column, written small and without spaces, dashes and underscores."""
_CHOICE = re.compile(r"(?:option|choice|candidate|opt)([a-j]|\d{1,2})")
_PICTURE = re.compile(r"(?:image|img|picture|photo)\d{1,2}")
SEVERAL = re.compile(
    "questions?|question(?:text|string|list)s?|quer(?:y|ies)|problems?|qas?|qa(?:pair|list)s?"
    "|questionanswers?(?:pairs?)?|texts"
)
"""Names of columns of several questions, as `key_of` makes them, alone or with their answers."""
_TALKS = ("messages", "conversations")
_BASE64 = re.compile(r"(?:/9j/|iVBORw0KGgo|R0lGOD|UklGR|SUkq|TU0A)[A-Za-z0-9+/\s]{64,}={0,2}\s*")
"""Base64 of the first bytes of JPEG, PNG, GIF, WebP and TIFF files."""
_FILE = re.compile(r"\.(?:png|jpe?g|gif|webp|bmp|tiff?|heic)$", re.IGNORECASE)
_MAX_SHOWN = 20
CONTEXTS = ("hint", "context", "passage", "paragraph", "background", "premise")
"""Columns of text that belongs before the question; they may have an `s` behind them, as those below."""
_TEXTS = (*CONTEXTS, "prompt", "problem", "instruction")
"""Columns of text that is a part of the problem if another column is the question."""


class Columns(msgspec.Struct, frozen=True):
    """The column of each field; None if the rows have none, or they have the name that virc gives it."""

    id: str | None = None
    image: str | None = None
    question: str | None = None
    choices: str | None = None
    each: tuple[str, ...] = ()
    """The columns of one choice each, if no column has them all."""

    def __str__(self) -> str:
        read = {field: getattr(self, field) for field in FIELDS}
        return ", ".join(f"{field} is read from {column!r}" for field, column in read.items() if column)


def resolve(
    names: Collection[str], chosen: Mapping[str, str], question: str | None = None, file: str = "FILE"
) -> Columns:
    seen = f"the columns are {listed(names)}"
    for field, column in chosen.items():
        if column not in names:
            raise DataError(f"there is no column {column!r} for {field}: {seen}", "--column FIELD=NAME")
    asked = chosen.get("question") or _column("question", ("question",), names, seen)
    if question is not None and (asked or "question" in names):
        raise DataError(
            f"the rows have questions of their own, in the column {asked or 'question'!r}", "leave QUESTION out"
        )
    if question is None and not asked and "question" not in names:
        convert = f"virc data convert {shlex.quote(file)} --to DIR --format batch writes a row for each question"
        values = names if isinstance(names, Mapping) else dict.fromkeys(names, "[]")  # a header has none
        lists = [key_of(name) for name, value in values.items() if isinstance(elements_of(value), list)]
        there = any(name in _TALKS or SEVERAL.fullmatch(name) for name in lists)
        hint = convert if there else _hint("question", names)
        raise DataError(f"no column is known as the question: {seen}", hint)
    image = chosen.get("image") or _column("image", _IMAGES, names, seen)
    if not image and not any(name in names for name in _IMAGES):
        pictures = sum(bool(_PICTURE.fullmatch(key_of(name))) for name in names)
        convert = f"virc data convert {shlex.quote(file)} --to DIR --format batch reads the pictures of several columns"
        raise DataError(f"no column is known as the image: {seen}", convert if pictures > 1 else _hint("image", names))
    choices = chosen.get("choices") or _column("choices", ("choices",), names, seen)
    each = () if choices or "choices" in names else tuple(_of_choices(names))
    return Columns(chosen.get("id") or _column("id", ("id",), names, seen), image, asked, choices, each)


def lettered(names: Collection[str]) -> list[str]:
    """The names that are letters of choices, from A or a on without a gap; none if B is not one of them."""
    for letters in (LETTERS, LETTERS.lower()):
        if len(there := list(takewhile(names.__contains__, letters))) > 1:
            return there
    return []


def _of_choices(names: Collection[str]) -> list[str]:
    if letters := [name for name in lettered(names) if name.isupper()]:
        return letters
    found = {match[1]: name for name in names if (match := _CHOICE.fullmatch(key_of(name)))}
    numbers = [str(number) for number in range(len(LETTERS) + 1)]
    ways = ([found[mark] for mark in takewhile(found.__contains__, each)]
            for each in (LETTERS.lower(), numbers[1:], numbers[:-1]))  # fmt: skip
    return next((way for way in ways if len(way) == len(found) > 1), [])


def odd_choices(names: Collection[str], columns: Columns) -> list[str]:
    read = columns.each or columns.choices or "choices" in names
    return [] if read else [name for name in names if _CHOICE.fullmatch(key_of(name))]


def unused_texts(fields: Mapping[str, Any], question: str) -> list[str]:
    """The columns of text that belongs to a question and does not stand in it."""
    said, texts = " ".join(question.split()), dict[str, str]()
    for name, each in fields.items():
        known = CONTEXTS if isinstance(each, list) else _TEXTS
        parts = each if isinstance(each, list) else [each]
        if name.lower().removesuffix("s") in known and all(isinstance(one, str) for one in parts):
            texts[name] = " ".join(" ".join(parts).split())
    return [name for name, text in texts.items() if text not in said and said not in text]


def listed(names: Collection[str]) -> str:
    shown = ", ".join(repr(plain(name, 40)) for name in list(names)[:_MAX_SHOWN])
    return shown + ", …" * (len(names) > _MAX_SHOWN) or "none"


def parse_chosen(given: Sequence[str]) -> dict[str, str]:
    pairs = [each.partition("=") for each in given]
    for each, (field, _, column) in zip(given, pairs, strict=True):
        if field not in FIELDS or not column:
            raise UsageError(
                f"--column {each}: it is FIELD=NAME, FIELD one of {', '.join(FIELDS)}", "--column image=photo"
            )
    return {field: column for field, _, column in pairs}


def read_row(line: int, number: int, content: Mapping[str, Any], columns: Columns, question: str | None = None) -> Row:
    read = {field: content[column] for field in FIELDS if (column := getattr(columns, field)) in content}
    ours = ("id", *_IMAGES) if columns.image is None else ("id",)
    fields = {name: content[name] for name in (*ours, "question", "choices") if name in content} | read
    if question is not None:
        fields["question"] = question
    if isinstance(text := fields.get("question"), int | float) and not isinstance(text, bool):
        fields["question"] = str(text)
    id = fields.get("id")
    fields["id"] = number if id in (None, "") else int(id) if isinstance(id, float) and id.is_integer() else id
    for name in _IMAGES:
        if name in fields:
            fields |= _named(name, columns.image, fields.pop(name))
    choices = [content[name] for name in columns.each if content[name] not in (None, "")]
    if len(choices) > 1:
        fields["choices"] = choices
    if isinstance(text := fields.get("choices"), str):
        try:
            fields["choices"] = choices_in(text)
        except DataError:
            fields["choices"] = [text]
    left_out = {"id", *_IMAGES} | ({columns.image} if _is_data(content.get(columns.image or "")) else set())
    passed = {name: value for name, value in content.items() if name not in left_out and not has_bytes(value)}
    as_asked = ("question", "choices") if columns.question is None else ("choices",)
    copied = passed | {name: fields[name] for name in as_asked if name in fields}
    return as_row(line, passed | fields, copied)


def _column(field: str, ours: Collection[str], names: Collection[str], seen: str) -> str | None:
    if any(name in names for name in ours):
        return None
    usual = _USUAL[field].split()
    found = sorted((name for name in names if key_of(name) in usual), key=lambda name: key_of(name) not in ours)
    if len(found) > 1 and key_of(found[0]) not in ours:
        either = " or ".join(map(repr, found))
        raise DataError(
            f"the column of the {field} may be {either}: {seen}", f"--column {shlex.quote(f'{field}={found[0]}')}"
        )
    return found[0] if found else None


def key_of(name: str) -> str:
    return re.sub(r"[\s_-]", "", name).lower()


def _hint(field: str, names: Collection[str]) -> str:
    if any("?" in name or _FILE.search(name) for name in names):
        return "the first line of a table names its columns, such as image,question"
    known = {name for each in _USUAL.values() for name in each.split()}
    likely = next((plain(name, 40) for name in names if key_of(name) not in known), "NAME")
    return f"--column {shlex.quote(f'{field}={likely}')}"


def _named(name: str, column: str | None, value: Any) -> dict[str, Any]:
    if isinstance(value, str) and (key_of(column or name).endswith("s") and not value.lower().startswith("data:")):
        value = _split(value)
    if isinstance(value, list):
        return {"images": [picture_of(each) for each in value]}
    return {"image" if name == "image" or isinstance(value, str | bytes) else name: picture_of(value)}


def picture_of(value: Any) -> Any:
    if isinstance(value, dict):
        value = next((value[key] for key in ("bytes", "path", "url") if value.get(key)), None)
    if isinstance(value, bytes):
        return f"data:;base64,{base64.b64encode(value).decode()}"
    if isinstance(value, str) and is_base64_image(value):
        return f"data:;base64,{''.join(value.split())}"
    return value or None


def is_base64_image(text: str) -> bool:
    return _BASE64.fullmatch(text) is not None


def _is_data(value: Any) -> bool:
    return not isinstance(value, str | list) or str(picture_of(value))[:5].lower() == "data:"


def has_bytes(value: Any) -> bool:
    if isinstance(value, dict | list):
        return any(map(has_bytes, value.values() if isinstance(value, dict) else value))
    return isinstance(value, bytes)


def _split(text: str) -> Any:
    if text.lstrip().startswith("["):
        return listed_in(text)
    mark = next((mark for mark in ";|\n" if mark in text), ";")
    return [part.strip() for part in text.split(mark) if part.strip()]
