"""The layout of published rows, as YAML says it, and the values of one row that it names."""

import ast
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from virc.reasoning.protocol import Coordinates

Text = Annotated[str, Meta(min_length=1)]
Texts = Text | tuple[Text, ...]
_MAX_PYTHON = 2**17
"""Characters of a list as Python prints it: its parser takes 350 bytes and 8 us for each."""


class ColumnPart(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A part of a column's text, several columns as a list, or a text with columns in it.

    Args:
        column: its name, or several names: the first one whose value is not null is taken. Space around the part is
            stripped.
        after: the part begins after this mark; without `after`, or in a row without the mark, at the beginning.
        before: the part ends before this mark, which is searched for after the other one.
        columns: instead of `column`: the values of all of these that are not empty, as a list in this order.
        text: instead of `column`: a text with columns in braces, `images/{image_id}.jpg`; `{image_id:012}` puts zeros
            before a number. A line whose columns are all empty is left out. A text without columns is the same in all
            rows.
    """

    column: Texts = ()
    after: Text | None = None
    before: Text | None = None
    columns: tuple[Text, ...] = ()
    text: Text | None = None

    def __post_init__(self) -> None:
        if sum(map(bool, (self.column, self.columns, self.text))) != 1:
            raise ValueError("it needs one of `column`, `columns` and `text`")


Column = Texts | ColumnPart
"""A column: its name; several names, of which the first one whose value is not null is taken; or a `ColumnPart`. A dot
leads into an object, also one that is JSON as text, or to an element of a list by its number, from 0:
`extra_info.question`, `conversations.0.value`.
"""
EMPTY = (None, "", "nan")
"""Values of cells that hold nothing; `nan` is how pandas prints one."""
_ID = re.compile(r"(?:.*_)?(?:id|index)", re.IGNORECASE)
"""Keys that an exploded object and its row may both have: an id of the object, and one of the row."""
_BRACES = re.compile(r"\{([^{}:]+)(?::0?(\d{1,2}))?\}")
_STRING = re.compile(r"""('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")(\s+(?=b?['"]))?""", re.DOTALL)
_OPTIONAL = ("history", "reply_images")
_COLUMNS = (
    "question", "answer", "answers", "images", "id", "boxes", "choices", "system", "messages", "replied", "objects",
    "reply", "chosen", "rejected", *_OPTIONAL,
)  # fmt: skip
"""The fields of a layout that name columns; a row must have all but the optional ones."""


class Layout(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which column of a published row has what. A layout fits rows that have all columns it names.

    Args:
        about: what has this layout, one line.
        question: the question; `<image>` marks in it are dropped.
        answer: the right answer.
        named: a part of the name of the files that have this layout, in small letters, or several; null: of all files.
        images: the question's images: a path, bytes, base64 text, an object with `bytes` or `path`, or a list of those.
        folder: what the paths of images begin with, up to a `/`, and is dropped, so that they count from the folder of
            the file; of several the first that a path begins with.
        id: the id of the row.
        boxes: the boxes of the answer, as lists of four numbers or as text, in the system's coordinates; a text that
            holds none has none.
        choices: the choices of the question: a list or an object, the text of one as JSON or as Python prints it, or a
            text that has them behind letters, in lines or between `;` or `|`. Where it is the column of the question,
            those behind letters at its end.
        explode: lists of one length, of which each element becomes a row with the other columns; where the elements
            are objects, their keys become columns.
        answers: several answers of which each is right; where `answer` is not named, the most frequent is it.
        metric: what the benchmark measures answers by, in addition to right and wrong.
        index_from: where the answer is the number of a choice: what the first has, 0 or 1.
        coordinates: what boxes are counted in; null: as its system counts, without one in pixels of the file.
        box: `size` where the last two numbers of a box are its width and height.
        ignore: columns that are left out on purpose.
        system: the system message of `messages`.
        messages: a conversation of objects with `role` and `content`, or `from` and `value`, in the system's words; or
            the text of one as JSON or as Python prints it.
        images_first: show the images before the first text of the user where no text has a mark for one.
        replied: the reply to the question as others learn it, with no chat protocol around either (alpaca).
        history: the turns before that question: a list of pairs of a question and its reply.
        objects: what `<ref-object>` and `<bbox>` in a conversation stand for (ms-swift): an object with a list of names
            as `ref`, and one of boxes or points as `bbox`.
        reply: the reply to the question, with which the row becomes a conversation in the system's chat protocol: a
            text, or a list of texts between which there are images.
        reply_images: the images between the texts of `reply`: the first follows the first text. There may be fewer than
            gaps, and a row may lack this column.
        chosen: of pairs: the better reply to the `messages`, or to the question as it is written; text, a message, or
            a list that ends with it, behind the turns before it. Of a layout with neither, these are its turns.
        rejected: the worse one.
        unsure: what is to be decided before rows are read by it, as `virc data layout` writes it.
    """

    about: Text
    question: Column | None = None
    answer: Column | None = None
    named: Texts = ()
    images: Column | None = None
    folder: Texts = ()
    id: Column | None = None
    boxes: Column | None = None
    choices: Column | None = None
    explode: Texts = ()
    answers: Column | None = None
    metric: Literal["anls", "vqa_accuracy"] | None = None
    index_from: Literal[0, 1] | None = None
    coordinates: Coordinates | None = None
    box: Literal["corners", "size"] = "corners"
    ignore: tuple[Text, ...] = ()
    system: Column | None = None
    messages: Column | None = None
    images_first: bool = False
    replied: Column | None = None
    history: Column | None = None
    objects: Column | None = None
    reply: Column | None = None
    reply_images: Column | None = None
    chosen: Column | None = None
    rejected: Column | None = None
    unsure: tuple[Text, ...] = ()

    def __post_init__(self) -> None:
        if (self.chosen is None) != (self.rejected is None):
            raise ValueError("pairs need both `chosen` and `rejected`")
        if self.chosen is not None and self.reply is not None:
            raise ValueError("a layout of pairs has no `reply`")
        if (self.replied is not None and self.question is None) or (self.history is not None and self.replied is None):
            raise ValueError("`replied` needs `question`, and `history` needs `replied`")
        if self.reply_images is not None and self.reply is None:
            raise ValueError("`reply_images` needs `reply`")
        if self.index_from is not None and (self.choices is None or self.answer is None):
            raise ValueError("`index_from` needs `choices` and `answer`")
        if self.question is None and self.chosen is None and (self.messages is None or self.reply is not None):
            raise ValueError("a layout needs `question` or `messages`")

    @property
    def folders(self) -> tuple[str, ...]:
        return _several(self.folder)

    @property
    def is_conversation(self) -> bool:
        return self.messages is not None or self.replied is not None

    def exploded(self, row: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        """The rows that a row becomes, one for each element of its lists.

        Raises:
            ValueError: a column of `explode` is no list, the lists have several lengths, or a key is taken.
        """
        lists = {name: elements_of(_cell(row, name)) for name in _several(self.explode)}
        for name, elements in lists.items():
            if not isinstance(elements, list):
                raise ValueError(f"its column {name} is no list")
        if len({*map(len, lists.values())}) > 1:
            counts = " and ".join(f"{len(each)} in {name}" for name, each in lists.items())
            raise ValueError(f"it has {counts}, and each question has one")
        rest = {key: value for key, value in row.items() if key not in lists}
        taken = {key for key, value in rest.items() if value is not None}
        rows = [rest] * min(map(len, lists.values()))
        if not rows:
            raise ValueError(f"its column {next(iter(lists))} is empty")
        for name, elements in lists.items():
            fields = self._fields_of(name, elements)
            for key in {key: None for each in fields for key in each if key != name}:
                if not isinstance(key, str):
                    raise ValueError(f"its column {name} has the key {key!r:.40}, which is no text")
                if key in taken and not _ID.fullmatch(key):
                    raise ValueError(f"its column {name} has the key {key:.40}, which is a column next to it too")
                taken.add(key)
            rows = [{**before, **each} for before, each in zip(rows, fields, strict=True)]
        return list(rows)

    def _fields_of(self, name: str, elements: Sequence[Any]) -> list[dict[Any, Any]]:
        """The columns that each element of an exploded list becomes: its keys, also those that only others have.

        A question like `turns.question` names the column of its list: then an element stays one column, of that name.
        """
        asked = () if self.question is None else names_of(self.question)
        if any(each.partition(".")[0] in _several(self.explode) for each in asked):
            return [{name: each} for each in elements]
        keys = dict.fromkeys(key for each in elements if isinstance(each, Mapping) for key in each)
        return [{**keys, **each} if isinstance(each, Mapping) else {name: each} for each in elements]

    def of_file(self, name: str) -> bool:
        return not self.named or any(part in name.lower() for part in _several(self.named))

    def read(self) -> frozenset[str]:
        """The names of all columns that the layout reads or ignores."""
        columns = (getattr(self, field) for field in _COLUMNS)
        return frozenset(name for column in columns if column is not None for name in names_of(column)) | {*self.ignore}

    def fits(self, row: Mapping[str, Any]) -> bool:
        """Whether a row has all columns but those that are optional."""
        needed = (getattr(self, field) for field in _COLUMNS if field not in _OPTIONAL)
        return all(value_of(row, column) is not UNSET for column in needed if column is not None)


def _several(names: Texts) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else names


def names_of(column: Column) -> tuple[str, ...]:
    """The names of all columns that a column is read from."""
    if not isinstance(column, ColumnPart):
        return _several(column)
    if column.text:
        return tuple(dict.fromkeys(braces[1] for braces in _BRACES.finditer(column.text)))
    return _several(column.column or column.columns)


def shown(column: Column) -> str:
    return " or ".join(names_of(column))


def value_of(row: Mapping[str, Any], column: Column) -> Any | UnsetType:
    """The value of a column in a row; UNSET where the row has none.

    Of several names the first whose value is not null counts: rows of parquet have all columns of their file.
    """
    found = [value for name in names_of(column) if (value := _cell(row, name)) is not UNSET]
    if isinstance(column, ColumnPart) and column.text and (found or not names_of(column)):
        return _fill_braces(row, column.text)
    if isinstance(column, ColumnPart) and column.columns and found:
        return [each for each in found if each not in EMPTY]
    value = next((each for each in found if not _is_nothing(each)), None if found else UNSET)
    return _cut(value, column) if isinstance(column, ColumnPart) and isinstance(value, str) else value


def _is_nothing(value: Any) -> bool:
    """Whether it is null, or a picture, or pictures, of which there are neither bytes nor a path."""
    if isinstance(value, list):
        return bool(value) and all(isinstance(each, dict) and _is_nothing(each) for each in value)
    return value is None or (isinstance(value, dict) and value.keys() <= {"bytes", "path"} and not any(value.values()))


def listed(text: str) -> Any:
    """The list or object that a text contains, as JSON or as Python prints it; else the text."""
    if text.lstrip()[:1] not in ("[", "{"):
        return text
    with suppress(ValueError, RecursionError):
        return msgspec.json.decode(text)
    if len(text) <= _MAX_PYTHON:
        with suppress(ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
            value = ast.literal_eval(text)  # which makes values and calls nothing
            # numpy prints a list without commas, and Python would join texts next to each other into one
            with_commas = _STRING.sub(lambda string: string[1] + ("," if string[2] else ""), text)
            return value if with_commas == text else ast.literal_eval(with_commas)
    return text


def elements_of(value: Any) -> Any:
    """The list that a value contains, also as text or as an object {question: answer}; else the value itself."""
    value = listed(value) if isinstance(value, str) else value
    if isinstance(value, Mapping) and value and all(isinstance(key, str) and key[-1:] in "?？؟" for key in value):
        return [{"question": question, "answer": answer} for question, answer in value.items()]
    return value


def _fill_braces(row: Mapping[str, Any], text: str) -> str:
    """The `text` of a `Part` with the row's values; a line all of whose columns are empty is left out."""

    def value(braces: re.Match[str]) -> str:
        cell = _cell(row, braces[1])
        cell = "\n".join(map(str, cell)) if isinstance(cell, list) else cell
        return "" if cell in (*EMPTY, UNSET) else str(cell).zfill(int(braces[2] or 0))

    filled = []
    for line in text.split("\n"):
        values = [value(braces) for braces in _BRACES.finditer(line)]
        if any(values) or not values:
            filled.append(_BRACES.sub(value, line))
    return "\n".join(filled)


def _cell(row: Mapping[str, Any], name: str) -> Any | UnsetType:
    if name in row:
        return row[name]
    value: Any = row
    for key in name.split("."):
        value = listed(value) if isinstance(value, str) else value
        if isinstance(value, Mapping) and key in value:
            value = value[key]
        elif isinstance(value, list) and key.isascii() and key.isdigit() and int(key[:9]) < len(value):
            value = value[int(key[:9])]
        else:
            return UNSET
    return value


def _cut(text: str, part: ColumnPart) -> str:
    start = text.find(part.after) + len(part.after) if part.after and part.after in text else 0
    end = text.find(part.before, start) if part.before else -1
    return text[start : None if end < 0 else end].strip()
