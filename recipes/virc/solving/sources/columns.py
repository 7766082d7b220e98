"""Finds the columns of a row that are its id, image, question and choices, by their usual names.

`resolve` finds the columns of a file, and `read_row` makes the row of the values in them.
"""

import base64
import re
import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import takewhile
from typing import Any

import msgspec

from virc.core.errors import DataError, UsageError
from virc.core.text import plain
from virc.solving.rows import LETTERS, ProblemRow, as_row, choices_in
from virc.systems.layouts.layout import listed as listed_in

FIELDS = ("id", "image", "question", "choices")
OF_PROBLEMS = (*FIELDS, "answer")
"""What a row has that is evaluated; its answer is in the column `answer` unless the user names another."""
_IMAGES = ("image", "images")
USUAL: Mapping[str, str] = {
    "id": "id questionid qid uid uuid sampleid problemid rowid index idx",
    "image": (
        "image images imagepath imagepaths imagefile imagefilename imagename imageurl imageurls img imgs imgpath "
        "imgpaths imgurl picture pictures photo photos figure path paths file files filename filepath url"
    ),
    "question": "question query prompt problem text instruction",
    "choices": "choices options candidates",
}
"""Field -> the usual names of its column, as `key_of` writes them."""
MEDIA = "video videos videopath videofile videourl clip clippath document documentpath docpath pdf pdfpath".split()
"""Those of columns of clips and documents, which are read as images where there are none."""
_CHOICE = re.compile(r"(?:option|choice|candidate|opt)([a-j]|\d{1,2})")
_ANSWERS = {"answer", "answers", "label", "solution", "gt", "target"}
_OF_PICTURES = ("image", "img", "picture", "photo", "figure", "file", "path", "url")
"""Parts of the names of columns that are likely those of pictures."""
SEVERAL = re.compile(
    "questions?|question(?:text|string|list)s?|quer(?:y|ies)|problems?|qas?|qa(?:pair|list)s?"
    "|questionanswers?(?:pairs?)?|texts"
)
"""Names of columns with several questions, alone or with their answers, as `key_of` writes them."""
_BASE64 = re.compile(r"(?:/9j/|iVBORw0KGgo|R0lGOD|UklGR|SUkq|TU0A)[A-Za-z0-9+/\s]{64,}={0,2}\s*")
"""Base64 of the first bytes of JPEG, PNG, GIF, WebP and TIFF files."""
_FILE = re.compile(r"\.(?:png|jpe?g|gif|webp|bmp|tiff?|heic)$", re.IGNORECASE)
_MAX_SHOWN = 20
CONTEXTS = ("hint", "context", "passage", "paragraph", "background", "premise")
"""Columns of text that belongs before the question; the names may end in `s`, as may those of `_TEXTS`."""
_TEXTS = (*CONTEXTS, "prompt", "problem", "instruction")
"""Columns of text that is a part of the problem if the question is in another column."""


class Columns(msgspec.Struct, frozen=True):
    """The column of each field; None if the rows have no such column, or it is called as the field is."""

    id: str | None = None
    image: str | None = None
    question: str | None = None
    choices: str | None = None
    answer: str | None = None
    each: tuple[str, ...] = ()
    """The columns with one choice each, if no column has all choices."""

    @property
    def read(self) -> frozenset[str]:
        """The names of the columns that are read."""
        named = (getattr(self, field) for field in OF_PROBLEMS)
        return frozenset((*OF_PROBLEMS, "images", *filter(None, named), *self.each))

    def __str__(self) -> str:
        read = {field: getattr(self, field) for field in OF_PROBLEMS}
        return ", ".join(f"{field} is read from {column!r}" for field, column in read.items() if column)


def resolve(names: Collection[str], chosen: Mapping[str, str], question: str | None = None) -> Columns:
    """Find the column of each field.

    Args:
        names: the columns.
        chosen: field -> column, as the user says.
        question: the question of every row; None if the rows have their own.
    """
    columns_are = f"the columns are {listed(names)}"
    for field, column in chosen.items():
        if column not in names:
            raise DataError(f"there is no column {column!r} for {field}: {columns_are}", "«--column FIELD=NAME»")
    question_column = chosen.get("question") or _column("question", ("question",), names, columns_are)
    has_questions = question_column or "question" in names
    if question is not None and has_questions:
        name = question_column or "question"
        raise DataError(f"the rows have questions of their own, in the column {name!r}", "leave QUESTION out")
    if question is None and not has_questions:
        raise DataError(f"no column is known as the question: {columns_are}", _hint("question", names))
    image = chosen.get("image") or _column("image", _IMAGES, names, columns_are)
    image = image or _column("image", _IMAGES, names, columns_are, MEDIA)
    if not image and not any(name in names for name in _IMAGES):
        raise DataError(f"no column is known as the image: {columns_are}", _hint("image", names))
    choices = chosen.get("choices") or _column("choices", ("choices",), names, columns_are)
    each = () if choices or "choices" in names else tuple(_of_choices(names))
    id_column = chosen.get("id") or _column("id", ("id",), names, columns_are)
    return Columns(id_column, image, question_column, choices, chosen.get("answer"), each)


def lettered(names: Collection[str]) -> list[str]:
    """The names that are letters of choices, from A or a on without a gap; none if B is not one of them."""
    for letters in (LETTERS, LETTERS.lower()):
        without_gap = list(takewhile(names.__contains__, letters))
        if len(without_gap) > 1:
            return without_gap
    return []


def _of_choices(names: Collection[str]) -> list[str]:
    """The columns with one choice each, such as `A`, `option_b` or `choice1`, if there are several without a gap."""
    if letters := [name for name in lettered(names) if name.isupper()]:
        return letters
    by_label = {match[1]: name for name in names if (match := _CHOICE.fullmatch(key_of(name)))}
    numbers = [str(number) for number in range(len(LETTERS) + 1)]
    for labels in (LETTERS.lower(), numbers[1:], numbers[:-1]):  # from a, 1 or 0 on
        without_gap = [by_label[label] for label in takewhile(by_label.__contains__, labels)]
        if len(without_gap) == len(by_label) > 1:
            return without_gap
    return []


def odd_choices(names: Collection[str], columns: Columns) -> list[str]:
    """The columns that look like those of one choice each, if no choices are read."""
    read = columns.each or columns.choices or "choices" in names
    return [] if read else [name for name in names if _CHOICE.fullmatch(key_of(name))]


def unused_texts(fields: Mapping[str, Any], question: str) -> list[str]:
    """The columns of text that belongs to a question and is not in it."""
    asked, texts = " ".join(question.split()), dict[str, str]()
    for name, value in fields.items():
        usual = CONTEXTS if isinstance(value, list) else _TEXTS
        parts = value if isinstance(value, list) else [value]
        if name.lower().removesuffix("s") in usual and all(isinstance(part, str) for part in parts):
            texts[name] = " ".join(" ".join(parts).split())
    return [name for name, text in texts.items() if text not in asked and asked not in text]


def listed(names: Collection[str]) -> str:
    shown = [repr(plain(name, 40)) for name in list(names)[:_MAX_SHOWN]]
    if len(names) > _MAX_SHOWN:
        shown.append("…")
    return ", ".join(shown) or "none"


def parse_chosen(given: Iterable[str], fields: Sequence[str] = FIELDS) -> dict[str, str]:
    """Field -> its column, of values of `--column`, such as `image=photo`."""
    return check_chosen({field: column for field, _, column in (each.partition("=") for each in given)}, fields)


def check_chosen(chosen: Mapping[str, str], fields: Sequence[str] = FIELDS) -> dict[str, str]:
    """Field -> its column, as a caller chooses them. Raises UsageError: a field is none of `fields`."""
    for field, column in chosen.items():
        if field not in fields or not column:
            given = f"{field}={column}" if column else field
            sentence = f"«--column {given}»: it is FIELD=NAME, FIELD one of {', '.join(fields)}"
            raise UsageError(sentence, "«--column image=photo»")
    return dict(chosen)


def read_row(
    line: int,
    number: int,
    content: Mapping[str, Any],
    columns: Columns,
    question: str | None = None,
    as_problem: bool = False,
) -> ProblemRow:
    """The row of the values in a file's columns; `number` is its id if it has none.

    Its `fields` are what is asked; the other columns pass through it to the output (`to_output`), without pictures.
    With `as_problem` the output has the question, the choices and the answer by these names, whatever their columns are
    called.
    """
    of_columns = {field: content[column] for field in OF_PROBLEMS if (column := getattr(columns, field)) in content}
    own_names = ("id", *_IMAGES) if columns.image is None else ("id",)
    fields = {name: content[name] for name in (*own_names, "question", "choices") if name in content} | of_columns
    if question is not None:
        fields["question"] = question
    if isinstance(text := fields.get("question"), int | float) and not isinstance(text, bool):
        fields["question"] = str(text)
    id = fields.get("id")
    if id in (None, ""):
        id = number
    fields["id"] = int(id) if isinstance(id, float) and id.is_integer() else id  # spreadsheets write 1.0
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
    left_out = {"id", *_IMAGES}
    if columns.image is not None and _is_data(content.get(columns.image)):
        left_out.add(columns.image)  # a path stays, a picture itself does not
    passed = {name: value for name, value in content.items() if name not in left_out and not has_bytes(value)}
    as_asked = ("question", "choices") if columns.question is None or as_problem else ("choices",)
    asked = {name: fields[name] for name in (*as_asked, *of_columns.keys() & {"answer"}) if name in fields}
    read_from = {getattr(columns, field) for field in OF_PROBLEMS} | {*(columns.each if choices else ())}
    to_output = {name: value for name, value in passed.items() if not (as_problem and name in read_from)} | asked
    return as_row(line, passed | fields, to_output)


def _column(
    field: str, ours: Collection[str], names: Collection[str], columns_are: str, usual: Collection[str] = ()
) -> str | None:
    """The column of a field by its usual names; None if there is none, or one is called as in `ours` already.

    A column whose name is one of `ours` but for case, spaces, dashes and underscores goes before the others.
    """
    if any(name in names for name in ours):
        return None
    usual = usual or USUAL[field].split()
    found = sorted((name for name in names if key_of(name) in usual), key=lambda name: key_of(name) not in ours)
    if len(found) > 1 and key_of(found[0]) not in ours:
        either, choose = " or ".join(map(repr, found)), shlex.quote(f"{field}={found[0]}")
        raise DataError(f"the column of the {field} may be {either}: {columns_are}", f"«--column {choose}»")
    return found[0] if found else None


def key_of(name: str) -> str:
    """A name of a column in small letters, without spaces, dashes and underscores."""
    return re.sub(r"[\s_-]", "", name).lower()


def _hint(field: str, names: Collection[str]) -> str:
    if field == "question" and {"messages", "conversations"} & {*names}:
        return "conversations are read from a file by its name, without «--column»"
    if any("?" in name or _FILE.search(name) for name in names):
        return "the first line of a table names its columns, such as image,question"
    known = {name for each in USUAL.values() for name in each.split()} | _ANSWERS
    others = [name for name in names if key_of(name) not in known]
    pictures = [name for name in others if any(part in key_of(name) for part in _OF_PICTURES)]
    likely = (pictures or others) if field == "image" else [name for name in others if name not in pictures]
    column = plain(likely[0], 40) if len(likely) == 1 else "NAME"
    return f"«--column {shlex.quote(f'{field}={column}')}»"


def _named(name: str, column: str | None, value: Any) -> dict[str, Any]:
    """The field `image`, or `images` where a column has several, of the value in a column of pictures."""
    if isinstance(value, str) and (images := base64_images(value)):
        value = images
    elif isinstance(value, str) and key_of(column or name).endswith("s") and not value.lower().startswith("data:"):
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


def base64_images(text: str) -> list[str]:
    """The base64 texts in a list of images, as JSON or Python prints one, however long; empty if the text is none."""
    parts = [part.strip(" \n\"'") for part in text.strip()[1:-1].split(",")] if text.lstrip()[:1] == "[" else []
    return parts if all(map(is_base64_image, parts)) else []


def _is_data(value: Any) -> bool:
    """Whether a value of the picture's column is a picture itself, or nothing, not the path or the URL of one."""
    return not isinstance(value, str | list) or str(picture_of(value))[:5].lower() == "data:"


def has_bytes(value: Any) -> bool:
    if isinstance(value, dict | list):
        return any(map(has_bytes, value.values() if isinstance(value, dict) else value))
    return isinstance(value, bytes)


def _split(text: str) -> Any:
    if text.lstrip().startswith("["):
        return listed_in(text)
    separator = next((sign for sign in ";|\n" if sign in text), ";")
    return [part.strip() for part in text.split(separator) if part.strip()]
