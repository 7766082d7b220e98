"""Rows of conversations as LLaMA-Factory reads them, and the record of each.

`reader` makes the rows of a file; `columns_of` finds which of their columns and tags is what.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from virc.config import taken
from virc.core.errors import DataError
from virc.core.json_stream import KIND_NAMES, Fields
from virc.core.text import plain
from virc.data.rows.laid_out import message_of, without_text
from virc.data.rows.numbered import ParsedRow, read_row
from virc.data.rows.record import Message, Picture, Record, Role
from virc.data.rows.transcripts import CALL, RESULT, described, joined
from virc.solving.sources.meanings import KNOWN

INFO = "dataset_info.json"
COLUMNS = ("messages", "conversations")
"""Names of the column of conversations where no entry names it."""
_ROLE_TAGS: dict[str, Role] = {"user_tag": "user", "assistant_tag": "assistant", "system_tag": "system"}
TOOL_TAGS: dict[str, Role] = {"observation_tag": RESULT, "function_tag": CALL}
TAGS = {"role_tag": "role", "content_tag": "content", **_ROLE_TAGS}
"""How our files name roles and texts."""
_DEFAULT_TAGS = {
    "role_tag": "from", "content_tag": "value", "user_tag": "human", "assistant_tag": "gpt", "system_tag": "system",
    **TOOL_TAGS,
}  # fmt: skip
FIRST_PART = 10 * 2**20
"""Bytes of a file of lines that datasets reads at once."""
_TIME = re.compile(r"\d{4}-\d\d-\d\d(?:[ T]\d\d(?::?\d\d){0,2}(?:Z|[+-]\d\d(?::?\d\d)?)?)?")
"""What pyarrow's reader of JSON takes for a time."""
_MAX_FIELDS = 10_000  # fields, those of objects within rows counted too


class Columns(msgspec.Struct, frozen=True):
    """The names of columns and tags; `roles` gives ours for theirs."""

    messages: str
    role: str
    content: str
    roles: dict[str, Role]
    images: str | None = None
    system: str | None = None
    tools: str | None = None


class ValuesOfFile:
    """What the rows of a file say together, while they are read: the columns to name, and texts that look like times.

    Attributes:
        first: the first row, with the system message and the tools of one where any has a column of them.
        place: says how many bytes of a file of lines are read; None of another file, in which no text becomes a time.
    """

    def __init__(self) -> None:
        self.first: Fields = {}
        self.place: Callable[[], int] | None = None
        self._has_times, self._alike, self._start = False, dict[str, bool](), 0

    def add(self, row: Fields) -> None:
        self.first = self.first or row
        for name in ("system", "tools"):
            if row.get(name) and not self.first.get(name):
                self.first = self.first | {name: row[name]}
        if self.place is None or self._has_times:
            return
        for path, value in values_of(row):
            if isinstance(value, str):
                self._alike[path] = self._alike.get(path, True) and bool(_TIME.fullmatch(value))
        if self.place() - self._start > FIRST_PART:
            self._has_times = any(self._alike.values())
            self._start, self._alike = self.place(), {}

    @property
    def has_times(self) -> bool:
        """Whether datasets 4.0.0 makes times of texts: all of a field look like some in a part of a file of lines."""
        return self._has_times or any(self._alike.values())


def reader(
    entry: Mapping[str, Any],
    folder: Path,
    left_out: Collection[str],
    place: Callable[[], int] = lambda: 0,
    sides: tuple[str, str] | None = None,
    values: ValuesOfFile | None = None,
) -> Callable[[int, Fields], tuple[ParsedRow]]:
    """What makes a row of numbered fields.

    Args:
        entry: of the file in `dataset_info.json`; without one, the columns are guessed.
        folder, left_out: as of `read_row`.
        place: says how many bytes of a file are read, where LLaMA-Factory reads it in parts.
        sides: the columns of the better and the worse reply of pairs.
        values: gets every row; all are then read by the columns of the first.
    """
    named = columns_of(entry) if entry else None
    kinds = Kinds(place)

    def read(number: int, value: Fields) -> tuple[ParsedRow]:
        if values is not None:
            values.add(value)
        columns, rejected = named or columns_of(guessed(values.first if values else value)), None
        if sides is not None:
            better, rejected = (_reply(value, side, columns) for side in sides)
            turns = value.get(columns.messages)
            joined = {columns.messages: [*turns, better]} if isinstance(turns, list) else {}
            value = {key: each for key, each in value.items() if key != sides[0]} | joined
        record = _record(value, columns, folder)
        if sides is not None and rejected is not None:
            extra = {key: each for key, each in record.extra.items() if key != sides[1]}
            record = msgspec.structs.replace(record, rejected=rejected[columns.content], extra=extra)
        of_entry = filter(None, (columns.messages, columns.images, columns.system, columns.tools))
        names = KNOWN.union(of_entry, ("question", "answer"), sides or ())
        flaws = () if record.has_tools else kinds.flaws(number, value)  # rows with tools are written again
        return (read_row(number, value, names, record, folder, left_out, flaws, (columns.role, columns.content)),)

    return read


def _reply(row: Fields, name: str, columns: Columns) -> Fields:
    side = row.get(name)
    if not isinstance(side, dict):
        raise DataError(f"it has no {name}, an object with {columns.role} and {columns.content}")
    role, content = side.get(columns.role), side.get(columns.content)
    if not isinstance(role, str) or columns.roles.get(role) != "assistant":
        raise DataError(f"its {name} has the {columns.role} {plain(repr(role), 40)}, and the assistant is due")
    if not isinstance(content, str) or side.get("tool_calls"):
        raise DataError(f"its {name} has no text alone as {columns.content}")
    return side


def guessed(row: Fields) -> dict[str, Any]:
    column = next((name for name in COLUMNS if name in row), None)
    if column is None:
        raise DataError(f"it has neither {' nor '.join(COLUMNS)}")
    first = next(iter(row[column]), None) if isinstance(row[column], list) else None
    tags = _DEFAULT_TAGS if isinstance(first, dict) and "from" in first else TAGS
    images = "image" if row.get("image") is not None and "images" not in row else "images"
    others = {"system": "system"} if isinstance(row.get("system"), str) else {}
    others |= {"tools": "tools"} if described(row.get("tools"), str(row[column])) else {}
    columns = {"messages": column, "images": images, **others}
    return {"formatting": "sharegpt", "columns": columns, "tags": tags | TOOL_TAGS}


def columns_of(entry: Mapping[str, Any]) -> Columns:
    """What an entry of `dataset_info.json` names, as LLaMA-Factory reads it.

    Where it has columns or tags, what they do not name does not exist; else the defaults apply.
    """
    formatting = entry.get("formatting", "alpaca")
    if formatting not in ("sharegpt", "openai"):
        sentence = f"the formatting {formatting!r} in {INFO} is not that of conversations"
        raise DataError(sentence, '"formatting": "sharegpt"')
    columns = _names(entry, "columns", {"messages": "conversations"})
    tags = _names(entry, "tags", _DEFAULT_TAGS)
    for key, names in (("messages", columns), ("role_tag", tags), ("content_tag", tags)):
        if key not in names:
            raise DataError(f"the entry in {INFO} has columns or tags, but names no {key}")
    return Columns(
        columns["messages"], tags["role_tag"], tags["content_tag"],
        {tags[tag]: role for tag, role in {**_ROLE_TAGS, **TOOL_TAGS}.items() if tag in tags},
        columns.get("images"), columns.get("system"), columns.get("tools"),
    )  # fmt: skip


def left_in_entry(entry: Mapping[str, Any], is_alpaca: bool, is_pairs: bool) -> tuple[tuple[str, str], ...]:
    """What an entry of `dataset_info.json` names and nothing reads, each with its edge."""
    usual = {name for name, value in (("ranking", False), ("split", "train")) if entry.get(name) == value}
    sides = ("chosen", "rejected") if is_pairs else ()
    texts = ("prompt", "query", "response", "history") if is_alpaca else ("messages",)
    parts = {
        "entry": (entry, ("file_name", "formatting", "columns", "tags", *usual, *(["ranking"] if is_pairs else ()))),
        "entry.columns": (entry.get("columns"), ("images", "system", *texts, *sides, *["tools"] * (not is_alpaca))),
        "entry.tags": (entry.get("tags"), _DEFAULT_TAGS),
    }
    return tuple(
        (edge, name)
        for edge, (fields, used) in parts.items()
        if isinstance(fields, Mapping)
        for name in taken.left(edge, fields, used)
    )


def _names(entry: Mapping[str, Any], key: str, default: dict[str, str]) -> dict[str, str]:
    if key not in entry:
        return default
    try:
        named = msgspec.convert(entry[key], dict[str, str | None])
    except msgspec.ValidationError:
        raise DataError(f"{key} in {INFO} is not an object of names") from None
    return {what: name for what, name in named.items() if name is not None}


def _record(row: Fields, columns: Columns, media: Path) -> Record:
    rest = dict(row)
    if columns.messages not in rest:
        raise DataError(f"it has no {columns.messages}")
    turns = rest.pop(columns.messages)
    if not isinstance(turns, list) or not all(isinstance(message, dict) for message in turns):
        raise DataError(f"its {columns.messages} are not a list of objects")
    turns = joined(turns, (columns.role,), (columns.content,), columns.roles)
    if any(isinstance(message.get(columns.content), list) for message in turns):
        for number, message in enumerate(turns, 1):
            message_of(message, number)  # which says what keeps parts from being read
    messages = [_message(message, number, columns) for number, message in enumerate(turns, 1)]
    images = rest.pop(columns.images, None) if columns.images else None
    names = [images] if isinstance(images, str) else [] if images is None else images
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise DataError("its images are not a list of names")
    if columns.system:
        system = rest.pop(columns.system, None)
        if not isinstance(system, str | None):
            raise DataError(f"its {columns.system} is not text")
        if not (messages and messages[0].role == "system"):
            messages = [Message("system", system), *messages] if system else messages
        elif system and system != messages[0].content:
            raise DataError(f"its {columns.system} is another system message than its first message")
    offered = rest.pop(columns.tools, None) if columns.tools else None
    if not (tools := described(offered)) and offered:
        raise DataError(f"its {columns.tools} are not a list of objects with a name each")
    return Record(
        tuple(messages),
        tuple(Picture(name, media) for name in names),
        id=rest.pop("id") if type(rest.get("id")) in (str, int) else None,
        question=rest.pop("question") if isinstance(rest.get("question"), str) else None,
        answer=str(rest.pop("answer")) if type(rest.get("answer")) in (str, int, float) else None,
        extra=rest,
        tools=tools,
    )


def _message(message: Fields, number: int, columns: Columns) -> Message:
    theirs, content = message.get(columns.role), message.get(columns.content)
    role = {CALL: CALL, RESULT: RESULT, **columns.roles}.get(theirs) if isinstance(theirs, str) else None
    if role is None:
        found = f"the {columns.role} {plain(repr(theirs), 40)}"
        if theirs == "system" and "system" not in columns.roles.values():
            found += f", and tags in {INFO} name no system_tag: LLaMA-Factory drops such a row"
            raise DataError(f"message {number} has {found}", f'"system_tag": "system" in {INFO}')
        hint = "virc data layout FILE says what rows of others may be"
        raise DataError(f"message {number} has {found}, not one of {', '.join(map(plain, columns.roles))}", hint)
    if not isinstance(content, str):
        parts = ", but a list of parts" * isinstance(content, list)
        raise DataError(
            f"message {number} has no text as {columns.content}{parts if content else without_text(message)}"
        )
    return Message(role, content)


class Kinds:
    """The kind of value that each field held first, and in which row: LLaMA-Factory needs one kind in every row, and of
    a file that it reads in parts all fields in the first of them.

    Args:
        place: how many bytes of the file are read.
    """

    def __init__(self, place: Callable[[], int] = lambda: 0) -> None:
        self._first: dict[str, tuple[str, int]] = {}
        self._place, self._start = place, 0

    def flaws(self, number: int, row: Fields) -> Iterator[str]:
        """What the reader would stop at in a row, at most one flaw of each sort; later rows are compared with it."""
        found: dict[str, str] = {}
        late, self._start = self._start >= FIRST_PART, self._place()
        for path, value in values_of(row):
            kind = KIND_NAMES[type(value)]
            first, where = self._first.get(path, (kind, number))
            if first != kind:
                flaw = f"{plain(path, 60)} is {kind}, and {first} in row {where}: LLaMA-Factory stops at the file"
                found.setdefault("kind", flaw)
            elif path not in self._first and len(self._first) < _MAX_FIELDS:
                self._first[path] = (kind, number)
                if late:
                    before = f"in no row of the first {FIRST_PART >> 20} MiB"
                    found.setdefault("late", f"{plain(path, 60)} is {before}: LLaMA-Factory stops at it")
        yield from found.values()


def values_of(row: Fields) -> Iterator[tuple[str, object]]:
    """Every value in a row with the path to it, but null, which goes with any kind."""
    left: list[tuple[str, object]] = list(row.items())
    while left:
        path, value = left.pop()
        if value is None:
            continue
        yield path, value
        if isinstance(value, dict):
            left.extend((f"{path}.{key}", inner) for key, inner in value.items())
        elif isinstance(value, list):
            left.extend((f"{path}[]", inner) for inner in value)
