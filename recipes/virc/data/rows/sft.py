"""Conversations in rows as LLaMA-Factory reads them, and the record of each row."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from virc.core.errors import DataError
from virc.core.json_stream import Fields
from virc.core.text import plain
from virc.data.check.kinds import Kinds
from virc.data.formats.registry import INFO, Row, Source
from virc.data.rows.record import Message, Picture, Record, Role

COLUMNS = ("messages", "conversations")
"""What conversations are called where no info names them."""

_ROLES: tuple[Role, ...] = ("user", "assistant", "system")
TAGS = {"role_tag": "role", "content_tag": "content"} | {f"{role}_tag": role for role in _ROLES}
"""How our files name roles and texts."""

_DEFAULT_TAGS = {
    "role_tag": "from", "content_tag": "value", "user_tag": "human", "assistant_tag": "gpt", "system_tag": "system",
}  # fmt: skip


class _Columns(msgspec.Struct, frozen=True):
    """Where a row has what.

    Args:
        roles: ours by theirs.
    """

    messages: str
    role: str
    content: str
    roles: dict[str, Role]
    images: str | None = None
    system: str | None = None


def rows(source: Source, values: Iterable[tuple[int, Fields | DataError]], place: str) -> Iterator[Row]:
    """Rows as records; `place` says what they are counted in.

    Raises:
        DataError: the info makes no sense of any row.
    """
    named = _named(source.info) if source.info else None
    kinds = Kinds()
    for number, value in values:
        if isinstance(value, DataError):
            yield Row(number, fault=value)
            continue
        try:
            record = _record(value, named or _named(guessed(value)), source.media)
            yield Row(number, record, flaws=tuple(kinds.flaws(number, value)))
        except DataError as fault:
            yield Row(number, fault=DataError(f"{place} {number}: {fault.message}", fault.hint))


def _named(entry: Mapping[str, Any]) -> _Columns:
    """What an entry of `dataset_info.json` names, as LLaMA-Factory reads it.

    Where there are columns or tags, what they do not name is not there; else the defaults hold.
    """
    formatting = entry.get("formatting", "alpaca")
    if formatting not in ("sharegpt", "openai"):
        raise DataError(
            f"the formatting {formatting!r} in {INFO} is not that of conversations",
            '"formatting": "sharegpt"',
        )
    columns = _texts(entry, "columns", {"messages": "conversations"})
    tags = _texts(entry, "tags", _DEFAULT_TAGS)
    for key, there in (("messages", columns), ("role_tag", tags), ("content_tag", tags)):
        if key not in there:
            raise DataError(f"the entry in {INFO} has columns or tags, but names no {key}")
    return _columns(columns, tags)


def _columns(columns: Mapping[str, str], tags: Mapping[str, str]) -> _Columns:
    return _Columns(
        columns["messages"], tags["role_tag"], tags["content_tag"],
        {tags[f"{role}_tag"]: role for role in _ROLES if f"{role}_tag" in tags},
        columns.get("images"), columns.get("system"),
    )  # fmt: skip


def _texts(entry: Mapping[str, Any], key: str, default: dict[str, str]) -> dict[str, str]:
    """The names under a key of an entry, without those that are null."""
    if key not in entry:
        return default
    try:
        named = msgspec.convert(entry[key], dict[str, str | None])
    except msgspec.ValidationError:
        raise DataError(f"{key} in {INFO} is not an object of names") from None
    return {what: name for what, name in named.items() if name is not None}


def guessed(row: Fields) -> dict[str, Any]:
    """The entry of `dataset_info.json` that a file with such a row seems to want.

    Raises:
        DataError: it has no column of conversations.
    """
    column = next((name for name in COLUMNS if name in row), None)
    if column is None:
        raise DataError(f"it has neither {' nor '.join(COLUMNS)}")
    first = next(iter(row[column]), None) if isinstance(row[column], list) else None
    tags = _DEFAULT_TAGS if isinstance(first, dict) and "from" in first else TAGS
    return {
        "formatting": "sharegpt",
        "columns": {"messages": column, "images": "images"},
        "tags": dict(tags),
    }


def _record(row: Fields, columns: _Columns, media: Path) -> Record:
    rest = dict(row)
    if columns.messages not in rest:
        raise DataError(f"it has no {columns.messages}")
    messages = _messages(rest.pop(columns.messages), columns)
    images = _images(rest.pop(columns.images, None)) if columns.images else []
    if columns.system and not (messages and messages[0].role == "system"):
        system = rest.pop(columns.system, None)
        if not isinstance(system, str | None):
            raise DataError(f"its {columns.system} is not text")
        messages = [Message("system", system), *messages] if system else messages
    return Record(
        tuple(messages),
        tuple(Picture(name, media) for name in images),
        id=rest.pop("id") if type(rest.get("id")) in (str, int) else None,
        question=rest.pop("question") if isinstance(rest.get("question"), str) else None,
        answer=str(rest.pop("answer")) if type(rest.get("answer")) in (str, int, float) else None,
        extra=rest,
    )


def _messages(value: object, columns: _Columns) -> list[Message]:
    if not isinstance(value, list) or not all(isinstance(message, dict) for message in value):
        raise DataError(f"its {columns.messages} are not a list of objects")
    return [_message(message, number, columns) for number, message in enumerate(value, 1)]


def _message(message: Fields, number: int, columns: _Columns) -> Message:
    theirs, content = message.get(columns.role), message.get(columns.content)
    role = columns.roles.get(theirs) if isinstance(theirs, str) else None
    if role is None:
        known = ", ".join(map(plain, columns.roles))
        raise DataError(
            f"message {number} has the {columns.role} {plain(repr(theirs), 40)}, not one of {known}"
        )
    if not isinstance(content, str):
        raise DataError(f"message {number} has no text as {columns.content}")
    return Message(role, content)


def _images(value: object) -> list[str]:
    names = [value] if isinstance(value, str) else [] if value is None else value
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise DataError("its images are not a list of names")
    return names
