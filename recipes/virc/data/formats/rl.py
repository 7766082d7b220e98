"""RL rows for verl, one reasoning unit each: the conversation before it, the images shown so far, its reference.

Published files have no `extra_info.reference`, so they lack the last unit of every trajectory.

`read` and `write` are the format. `write` makes the rows of single units with `split`; `problems` takes one of those
of each problem, where a conversion writes problems or prompts.
"""

import hashlib
from collections.abc import Iterable, Iterator
from itertools import count
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from virc.core.errors import DataError
from virc.core.files import is_file
from virc.core.tables import parquet as parquet_rows
from virc.data.formats.registry import Holds, RowsFile, Writing, file_for, numbered_rows
from virc.data.rows import pictures
from virc.data.rows import verl as verl_rows
from virc.data.rows.numbered import ParsedRow, read_row
from virc.data.rows.record import MARK, Picture, Record, check_texts, final_answer, images_of, inputs_of
from virc.reasoning.grammar import TAGS, Grammar
from virc.reasoning.messages import FormatError, parse, printable
from virc.scoring.boxes import boxes_of_row
from virc.solving.sources.meanings import KNOWN, PICTURES

NAME = "rl"
HOLDS: Holds = "prompts"
LOST = ""
_READ = ("prompt", "images", "extra_info", "reward_model")
_NAMED = frozenset(_READ) | KNOWN


def recognises(path: Path) -> bool:
    return kind(path) is True


def read(source: RowsFile, start: int = 1) -> Iterator[ParsedRow]:
    read, binary = columns(source.file), parquet_rows.column_names(source.file).items()
    left_out = source.ignored
    unknown = {name.partition(".")[0] for name, is_binary in binary if is_binary} - {*_READ, *left_out}
    lost = dict.fromkeys(sorted(unknown), PICTURES)  # of bytes that verl does not read

    def read_value(number: int, fields: dict[str, Any]) -> Iterator[ParsedRow]:
        record, flaws = verl_rows.record_of(fields, source.media), verl_rows.flaws_of(fields)
        row = read_row(number, fields, _NAMED, record, source.media, left_out, flaws)
        yield msgspec.structs.replace(row, unread={**row.unread, **lost})

    yield from numbered_rows(source, parquet_rows.read_rows(source.file, read, start), read_value)


def write(folder: Path, name: str, records: Iterable[Record], settings: Writing) -> int:
    rows = (row for record in records for row in split(record, settings.grammar))
    return write_as(file_for(folder, name, ".parquet"), rows, settings, turns=True)


def split(record: Record, grammar: Grammar = TAGS) -> Iterator[Record]:
    """One record for every reply of a whole trajectory, and for the reply still to be written: the messages before
    it, the reply, the images shown before it; `extra` with its `turn`, from 0, and `tool_info_gt`. A record that has
    both, as from `read`, is given unchanged. Raises DataError as `write` does.
    """
    record = complete(record)
    if {"turn", "tool_info_gt"} <= record.extra.keys():
        yield record
        return
    shown = images_of(record)
    kept = verl_rows.of_problem(record)
    turn = count()
    for at, message in enumerate(record.messages):
        if message.role != "user":
            continue
        reply = record.messages[at + 1 : at + 2]
        tool = _tool(reply[0].content, grammar) if reply else record.extra.get("tool_info_gt")
        yield msgspec.structs.replace(
            record,
            messages=record.messages[: at + 2],
            images=record.images[: sum(map(len, shown[: at + 1]))],
            extra=kept | {"turn": next(turn), "tool_info_gt": tool},
        )


def problems(rows: Iterable[ParsedRow]) -> Iterator[ParsedRow]:
    """The first row of each problem without the fields of a single unit; faulty rows stay as they are."""
    seen = set[bytes]()
    for row in rows:
        if row.record is None:
            yield row
        elif (own := _problem_key(row.record)) not in seen:
            seen.add(own)
            record = msgspec.structs.replace(row.record, extra=verl_rows.of_problem(row.record))
            yield msgspec.structs.replace(row, record=record)


def whole(row: ParsedRow) -> ParsedRow:
    """The row without the fields of a single unit; the tool of a unit whose reply no row holds stays."""
    if row.record is None:
        return row
    extra = verl_rows.of_problem(row.record)
    if is_cut(row.record) and (tool := row.record.extra.get("tool_info_gt")):
        extra["tool_info_gt"] = tool
    return msgspec.structs.replace(row, record=msgspec.structs.replace(row.record, extra=extra))


def is_cut(record: Record) -> bool:
    return bool(record.messages) and record.messages[-1].role == "user"


def complete(record: Record) -> Record:
    answer = final_answer(record) if record.answer is None else record.answer
    if answer is None and (boxes := boxes_of_row(record.extra)):
        answer = msgspec.json.encode(boxes).decode()
    check_texts(record)
    if fault := _fault(record, answer):
        raise DataError(f"record {record.id!r} {fault}")
    return msgspec.structs.replace(record, answer=answer)


def write_as(file: Path, records: Iterable[Record], settings: Writing, turns: bool) -> int:
    parquet_rows.load()
    rows = (
        verl_rows.fields_of(record, index, [_image(picture, record, settings) for picture in record.images], turns)
        for index, record in enumerate(records)
    )
    return parquet_rows.write_rows(file, verl_rows.schema(settings.embed, turns), rows)


def kind(path: Path) -> bool | None:
    """Whether the rows of a parquet file are single units, not prompts; None where they are not for verl. Never raises.

    Without pyarrow, and for a damaged .parquet file, the answer is True, so that reading it raises the error.
    """
    has_ending = path.suffix.lower() == ".parquet" and is_file(path)
    if not parquet_rows.is_parquet(path):
        return has_ending or None
    try:
        parquet_rows.load()
    except Exception:
        return True
    try:
        names = parquet_rows.column_names(path)
    except DataError:
        return has_ending or None
    top = {name.partition(".")[0] for name in names}
    if "prompt" not in top or {"chosen", "rejected"} <= top:  # with both they are pairs, such as TRL's
        return None
    if "prompt" in names and not {"extra_info", "reward_model"} & top:  # a text, in rows of others
        return None
    return any(name.startswith(("extra_info.tool_info_gt", "extra_info.reference")) for name in names)


def columns(path: Path) -> list[str]:
    """The columns to read: images, which a row has twice, only once; other columns only if they hold no bytes."""
    names = parquet_rows.column_names(path)
    tops = {name.partition(".")[0] for name in names}
    if "prompt" not in tops:
        raise DataError(f"{path} has no column prompt")
    return [
        name
        for name, binary in names.items()
        if not ("images" in tops and name.startswith("extra_info.images."))
        and (name.partition(".")[0] in _READ or not binary)
    ]


def _fault(record: Record, answer: str | None) -> str | None:
    replies = [message.content for message in record.messages if message.role == "assistant"]
    roles = [message.role for message in record.messages]
    turns = roles[1:] if roles[:1] == ["system"] else roles
    marks = sum(map(len, images_of(record)))
    faults = {
        "has no conversation": not turns,
        "has roles that do not alternate": turns != (["user", "assistant"] * len(turns))[: len(turns)],
        "has an empty reply": not all(replies),
        "has a reply with an image mark": any(MARK in reply for reply in replies),
        f"has {marks} image marks and {len(record.images)} images": marks != len(record.images),
        "has no question apart from its conversation": record.question is None,
        "has no answer": answer is None,
    }
    return next((fault for fault, found in faults.items() if found), None)


def _image(picture: Picture, record: Record, settings: Writing) -> dict[str, Any]:
    if not settings.embed:
        return {"image": settings.pictures.name(picture, record)}
    name = picture.name
    with pictures.located(picture, record):
        data = picture.read()
    if "://" in name or Path(name).is_absolute():  # no path of this machine goes into the row
        name = PurePosixPath(name).name
    return {"bytes": data, "path": printable(name) or None}


def _problem_key(record: Record) -> bytes:
    """A hash of the id, and of the conversation up to the question with its images."""
    sha, inputs = hashlib.blake2b(repr(record.id).encode(), digest_size=16), inputs_of(record)
    end = next((at for at, message in enumerate(record.messages, 1) if message.role == "user"), None)
    for text in (text for message in record.messages[:end] for text in (message.role, message.content)):
        sha.update(b"%d " % len(text) + text.encode("utf-8", "surrogatepass"))
    for picture in (record.images[index] for index in inputs if index < len(record.images)):
        sha.update(pictures.key(picture))
    return sha.digest()


def _tool(reply: str, grammar: Grammar) -> dict[str, str] | None:
    try:
        tool = parse(reply, grammar).tool
    except FormatError:
        return None
    return {"name": tool.name} if tool else None
