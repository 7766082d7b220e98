"""The layout of published rows, as YAML says it, and the values of one row that it names."""

import ast
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from virc.reasoning.protocol import Coordinates

Text = Annotated[str, Meta(min_length=1)]
MAX_LISTED = 2**17
"""Characters of a list as text: Python's parser takes 350 bytes and 8 us for each."""


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

    column: Text | tuple[Text, ...] = ()
    after: Text | None = None
    before: Text | None = None
    columns: tuple[Text, ...] = ()
    text: Text | None = None

    def __post_init__(self) -> None:
        if sum(map(bool, (self.column, self.columns, self.text))) != 1:
            raise ValueError("it needs one of `column`, `columns` and `text`")


Column = Text | tuple[Text, ...] | ColumnPart
"""A column: its name; several names, of which the first one whose value is not null is taken; or a `Part`. A dot leads
into an object, also one that is JSON as text, or to an element of a list by its number, from 0:
`extra_info.question`, `conversations.0.value`.
"""
EMPTY = (None, "", "nan")
"""Values of cells that hold nothing; `nan` is how pandas prints one."""
_ID = re.compile(r"(?:.*_)?(?:id|index)", re.IGNORECASE)
"""Keys that an exploded object and its row may both have: an id of the object, and one of the row."""
_BRACES = re.compile(r"\{([^{}:]+)(?::0?(\d{1,2}))?\}")
_STRING = re.compile(r"""('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")(\s+(?=b?['"]))?""", re.DOTALL)


class ReplyPieces(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A reply in pieces.

    Args:
        texts: a list of texts, or one.
        images: the images between the texts: the first follows the first text. There may be fewer than gaps, and a row
            may lack this column.
    """

    texts: Column
    images: Column | None = None


class Layout(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which column of a published row has what. A layout fits rows that have all columns it names.

    Args:
        about: what has this layout, one line.
        question: the question; `<image>` marks in it are dropped.
        answer: the right answer.
        named: a part of the name of the files that have this layout, in small letters, or several; null: of all files.
        images: the question's images: a path, bytes, an object with `bytes` or `path`, or a list of those.
        base64: whether images are files as base64 text.
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
        reply: the reply to the question, with which the row becomes a conversation in the system's chat protocol.
        chosen: of pairs: the better reply to the `messages`, or to the question as it is written; text, a message, or
            a list that ends with it, behind the turns before it. Of a layout with neither, these are its turns.
        rejected: the worse one.
        unsure: what is to be decided before rows are read by it, as `virc data layout` writes it.
    """

    about: Text
    question: Column | None = None
    answer: Column | None = None
    named: Text | tuple[Text, ...] | None = None
    images: Column | None = None
    base64: bool = False
    folder: Text | tuple[Text, ...] | None = None
    id: Column | None = None
    boxes: Column | None = None
    choices: Column | None = None
    explode: Text | tuple[Text, ...] = ()
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
    reply: Text | tuple[Text, ...] | ReplyPieces | None = None
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
        if self.index_from is not None and (self.choices is None or self.answer is None):
            raise ValueError("`index_from` needs `choices` and `answer`")
        if self.question is None and self.chosen is None and (self.messages is None or self.reply is not None):
            raise ValueError("a layout needs `question` or `messages`")

    @property
    def folders(self) -> tuple[str, ...]:
        return (self.folder,) if isinstance(self.folder, str) else self.folder or ()

    def exploded(self, row: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        """The rows that a row becomes, one for each element of its lists.

        Raises:
            ValueError: a column of `explode` is no list, the lists have several lengths, or a key is taken.
        """
        names = (self.explode,) if isinstance(self.explode, str) else self.explode
        lists: dict[str, list[Any]] = {}
        for name in names:
            lists[name] = elements_of(_cell(row, name))
            if not isinstance(lists[name], list):
                raise ValueError(f"its column {name} is no list")
        if len({*map(len, lists.values())}) > 1:
            counts = " and ".join(f"{len(each)} in {name}" for name, each in lists.items())
            raise ValueError(f"it has {counts}, and each question has one")
        if not lists[names[0]]:
            raise ValueError(f"its column {names[0]} is empty")
        rest = {key: value for key, value in row.items() if key not in names}
        question = () if self.question is None else names_of(self.question)
        # A question like `turns.question` names the column of its list: then an element stays one column, of that name.
        stays_whole = any(each.partition(".")[0] in names for each in question)
        # Column of `explode` -> the keys of all its objects, with null: a row whose object lacks a key gets that.
        defaults = dict[str, dict[Any, None]]()
        taken = {key for key, value in rest.items() if value is not None}
        for name, elements in lists.items():
            keys = (key for each in elements if isinstance(each, Mapping) for key in each)
            defaults[name] = dict.fromkeys(() if stays_whole else keys)
            for key in defaults[name]:
                if not isinstance(key, str):
                    raise ValueError(f"its column {name} has the key {key!r:.40}, which is no text")
                if key in taken and not _ID.fullmatch(key):
                    raise ValueError(f"its column {name} has the key {key:.40}, which is a column next to it too")
            taken |= defaults[name].keys()
        exploded: list[Mapping[str, Any]] = []
        for row_elements in zip(*lists.values(), strict=True):
            new = {**rest}
            for name, element in zip(lists, row_elements, strict=True):
                if isinstance(element, Mapping) and not stays_whole:
                    new |= {**defaults[name], **element}
                else:
                    new[name] = element
            exploded.append(new)
        return exploded

    def of_file(self, name: str) -> bool:
        parts = (self.named,) if isinstance(self.named, str) else self.named
        return parts is None or any(part in name.lower() for part in parts)

    @property
    def pieces(self) -> ReplyPieces | None:
        """The `reply`, also where it is given as the column of its only text."""
        return self.reply if self.reply is None or isinstance(self.reply, ReplyPieces) else ReplyPieces(self.reply)

    def columns(self) -> Iterator[Column]:
        fields = (
            self.question, self.answer, self.answers, self.images, self.id, self.boxes, self.choices, self.system,
            self.replied, self.objects,
        )  # fmt: skip
        reply = (self.pieces.texts, self.pieces.images) if self.pieces else ()
        columns = (*fields, self.messages, *reply)
        yield from (column for column in (*columns, self.history) if column is not None)
        yield from self.replies()

    def read(self) -> frozenset[str]:
        """The names of all columns that the layout reads or ignores."""
        return frozenset(name for column in self.columns() for name in names_of(column)) | {*self.ignore}

    def replies(self) -> Iterator[Column]:
        """The columns of a layout of pairs."""
        yield from (column for column in (self.chosen, self.rejected) if column is not None)

    def needed(self) -> Iterator[Column]:
        """The columns that a row must have: all but that of images in a reply, and of earlier turns."""
        without = (self.pieces.images if self.pieces else None, self.history)
        yield from (column for column in self.columns() if column not in without)

    def fits(self, row: Mapping[str, Any]) -> bool:
        return all(value_of(row, column) is not UNSET for column in self.needed())


def names_of(column: Column) -> tuple[str, ...]:
    """The names of all columns that a column is read from."""
    if isinstance(column, ColumnPart) and column.text:
        return tuple(dict.fromkeys(braces[1] for braces in _BRACES.finditer(column.text)))
    name = column.column or column.columns if isinstance(column, ColumnPart) else column
    return (name,) if isinstance(name, str) else name


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
    value = next((each for each in found if each is not None), None if found else UNSET)
    return _cut(value, column) if isinstance(column, ColumnPart) and isinstance(value, str) else value


def listed(text: str) -> Any:
    """The list or object that a text contains, as JSON or as Python prints it; else the text."""
    if text.lstrip()[:1] in ("[", "{") and len(text) <= MAX_LISTED:
        with suppress(ValueError, RecursionError):
            return msgspec.json.decode(text)
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
