"""RL rows for verl, one reasoning unit each: the conversation before it, the images shown so far, its reference."""

from collections.abc import Iterable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import msgspec

from virc_recipes.clauses import clause
from virc_recipes.data import parquet_rows, verl_rows
from virc_recipes.data.layouts import Holds, Row, Source, Writing
from virc_recipes.data.record import Picture, Record, images_of
from virc_recipes.errors import DataError
from virc_recipes.reasoning.messages import FormatError, Turn, parse

NAME = "rl"
SUMMARY = "parquet for verl, one row a reasoning unit (stage 3)"
HOLDS: Holds = "prompts"
LOST = (
    "the last unit where a file has no extra_info.reference, as published; "
    "a record without an answer gets that of its last unit"
)


def recognises(path: Path) -> bool:
    """Whether it is parquet whose rows tell of one unit each."""
    return kind(path) is True


def read(source: Source) -> Iterator[Row]:
    """One record a row: the prompt, and the reference reply where it is known.

    Raises:
        DataError: it is no parquet file with prompts.
        SetupError: pyarrow is not installed.
    """
    columns = _columns(source.file)
    for number, fields in parquet_rows.read_rows(source.file, columns):
        try:
            if isinstance(fields, DataError):
                raise fields
            yield Row(number, verl_rows.record_of(fields, source.media))
        except DataError as error:
            yield Row(number, fault=DataError(f"row {number}: {error.message}", error.hint))


def write(folder: Path, name: str, records: Iterable[Record], settings: Writing) -> int:
    """`NAME.parquet`, one row for every reply of the records, in verl's columns.

    Raises:
        DataError: a record has no conversation, question or answer, or one that verl would refuse.
    """
    rows = (row for record in records for row in split(record))
    return write_as(folder / f"{name}.parquet", rows, settings, turns=True)


def split(record: Record) -> Iterator[Record]:
    """One record for every reply of a whole trajectory, and for the reply still to be written: what came before it,
    the reply, the images shown before it; `extra` with its `turn`, from 0, and `tool_info_gt`.

    Raises:
        DataError: as `write` does.
    """
    record = complete(record)
    shown = images_of(record)
    kept = {key: value for key, value in record.extra.items() if key not in verl_rows.OF_ROW}
    turn = count()
    for at, message in enumerate(record.messages):
        if message.role != "user":
            continue
        reply = record.messages[at + 1 : at + 2]
        tool = _tool_of(reply[0].content) if reply else record.extra.get("tool_info_gt")
        yield msgspec.structs.replace(
            record,
            messages=record.messages[: at + 2],
            images=record.images[: sum(map(len, shown[: at + 1]))],
            extra=kept | {"turn": next(turn), "tool_info_gt": tool},
        )


def merged(rows: Iterable[Row]) -> Iterator[Row]:
    """Rows of single units as rows of whole trajectories, as far as they are known; faulty rows pass.

    Rows that follow each other are of one trajectory when each continues the one before and their ids, where they
    have some, are the same. A record that ends with a user message lacks its last unit (`is_cut`).
    """
    current: Row | None = None
    for row in rows:
        if row.record and current and current.record and _continues(row.record, current.record):
            current = Row(current.number, row.record)
            continue
        if current:
            yield whole(current)
        current = row if row.record else None
        if not row.record:
            yield row
    if current:
        yield whole(current)


def whole(row: Row) -> Row:
    """The row with an `extra` that tells of its trajectory: of the row only the tool of a unit that is not known."""
    if row.record is None:
        return row
    extra = {key: value for key, value in row.record.extra.items() if key not in verl_rows.OF_ROW}
    if is_cut(row.record) and (tool := row.record.extra.get("tool_info_gt")):
        extra["tool_info_gt"] = tool
    return Row(row.number, msgspec.structs.replace(row.record, extra=extra))


def is_cut(record: Record) -> bool:
    """Whether the record's last unit is not known."""
    return bool(record.messages) and record.messages[-1].role == "user"


def complete(record: Record) -> Record:
    """The record with an answer, if all else is as verl needs it.

    Raises:
        DataError: as `write` does.
    """
    roles = [message.role for message in record.messages]
    talk = roles[1:] if roles[:1] == ["system"] else roles
    fault = None
    answer = record.answer if record.answer is not None else _answer_of(record)
    if not talk:
        fault = "has no conversation"
    elif talk != (["user", "assistant"] * len(talk))[: len(talk)]:
        fault = "has roles that do not alternate"
    elif any("<image>" in message.content for message in record.messages if message.role == "assistant"):
        fault = "has a reply with an image mark"
    elif any(not message.content for message in record.messages if message.role == "assistant"):
        fault = "has an empty reply"
    elif (marks := sum(map(len, images_of(record)))) != len(record.images):
        fault = f"has {marks} image marks and {len(record.images)} images"
    elif record.question is None:
        fault = "has no question apart from its conversation"
    elif answer is None:
        fault = "has no answer"
    if fault:
        raise DataError(f"record {record.id!r} {fault}")
    return msgspec.structs.replace(record, answer=answer)


def write_as(file: Path, records: Iterable[Record], settings: Writing, turns: bool) -> int:
    """Write one row for each record; see `verl_rows.schema` for `turns`.

    Raises:
        DataError: an image cannot be read, or a row cannot be parquet.
    """
    parquet_rows.load()
    rows = (
        verl_rows.fields_of(
            record, index, [_image(picture, record, settings) for picture in record.images], turns
        )
        for index, record in enumerate(records)
    )
    return parquet_rows.write_rows(file, verl_rows.schema(settings.embed, turns), rows)


def kind(path: Path) -> bool | None:
    """Whether the rows of a parquet file are single units; None where it is not for verl. Never raises.

    Without pyarrow every parquet file may be, and reading it says what is missing.
    """
    if not parquet_rows.is_parquet(path):
        return None
    try:
        parquet_rows.load()
    except Exception:
        return True
    try:
        names = parquet_rows.column_names(path)
    except DataError:
        return None
    if "prompt" not in {name.partition(".")[0] for name in names}:
        return None
    return any(name.startswith(("extra_info.tool_info_gt", "extra_info.reference")) for name in names)


def _columns(path: Path) -> list[str]:
    """What to read. Images and prompt stand twice in a row: once is enough; of other columns no bytes can pass."""
    names = parquet_rows.column_names(path)
    tops = {name.partition(".")[0] for name in names}
    if "prompt" not in tops:
        raise DataError(f"{path} has no column prompt")
    known = ("prompt", "images", "extra_info", "reward_model")
    skipped = tuple(f"extra_info.{name}." for name in ("images", "prompt") if name in tops)
    return [
        name
        for name, binary in names.items()
        if not name.startswith(skipped) and (name.partition(".")[0] in known or not binary)
    ]


def _image(picture: Picture, record: Record, settings: Writing) -> dict[str, Any]:
    try:
        if settings.embed:
            return {"bytes": picture.read(), "path": picture.name or None}
        place = settings.to.absolute() / settings.pictures.add(picture)
        return {"image": f"file://{place.as_posix()}"}
    except OSError as error:
        sentence = f"record {record.id!r}: image {picture.name} cannot be read: {clause(error)}"
        raise DataError(sentence) from None


def _continues(row: Record, before: Record) -> bool:
    known = len(before.messages)
    return (
        (row.id is None or before.id is None or row.id == before.id)
        and len(row.messages) > known
        and row.messages[:known] == before.messages
        and row.images[: len(before.images)] == before.images
    )


def _turn(text: str) -> Turn | None:
    try:
        return parse(text)
    except FormatError:
        return None


def _tool_of(reply: str) -> dict[str, str] | None:
    turn = _turn(reply)
    return {"name": turn.tool.name} if turn and turn.tool else None


def _answer_of(record: Record) -> str | None:
    last = record.messages[-1] if record.messages else None
    turn = _turn(last.content) if last and last.role == "assistant" else None
    return turn.answer if turn else None
