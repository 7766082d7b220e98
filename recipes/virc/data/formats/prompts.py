"""Prompts for multi-turn RL in verl, one row per problem: the conversation up to the first user message."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from virc.data.formats import rl
from virc.data.formats.registry import Holds, RowsFile, Writing, file_for
from virc.data.rows.numbered import ParsedRow
from virc.data.rows.record import MARK, Record

NAME = "prompts"
HOLDS: Holds = "prompts"
LOST = "the trajectory: all but the question with its images and the answer"


def recognises(path: Path) -> bool:
    return rl.kind(path) is False


def read(source: RowsFile, start: int = 1) -> Iterator[ParsedRow]:
    return map(rl.whole, rl.read(source, start))


def write(folder: Path, name: str, records: Iterable[Record], settings: Writing) -> int:
    return rl.write_as(file_for(folder, name, ".parquet"), map(opening, records), settings, turns=False)


def opening(record: Record) -> Record:
    record = rl.complete(record)
    end = next(at for at, message in enumerate(record.messages) if message.role == "user") + 1
    images = record.images[: sum(message.content.count(MARK) for message in record.messages[:end])]
    return msgspec.structs.replace(record, messages=record.messages[:end], images=images)
