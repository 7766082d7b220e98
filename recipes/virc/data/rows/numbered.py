"""A row of a file with its number: its record, or why it has none, and which of its columns nothing reads."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from virc.config.taken import ignoring
from virc.core.errors import DataError
from virc.core.files import is_file
from virc.core.text import plain
from virc.data.rows.record import Record, check_texts
from virc.data.rows.unread import left_in_messages, unread
from virc.solving.sources.meanings import ANSWERS, BOXES

_REWRITING = {
    BOXES: "rename {} to `boxes`, a list of boxes, or `box`, one",
    ANSWERS: "rename {} to `answer`, a text or a number, or `answers`, a list of them",
    "answer": "write an {} that is a list as `answers`, one that is boxes as `boxes`, true and false as yes and no",
}
"""Name of a column that is not read, or what it holds -> how to write it as the right answer of a problem."""


class ParsedRow(msgspec.Struct, frozen=True):
    """One row: its number in the file, from 1, and its record or why it has none.

    `flaws` are faults at which a training engine stops, though the record can be read. `unread` are columns that are
    not read, and keys of messages without which the row would be wrong, each with what it holds. `left` are the other
    names in messages that nothing uses, each with its edge.
    """

    number: int
    record: Record | None = None
    fault: DataError | None = None
    flaws: tuple[str, ...] = ()
    unread: Mapping[str, str] = {}
    left: tuple[tuple[str, str], ...] = ()

    @property
    def lost(self) -> DataError | None:
        if not self.unread:
            return None
        columns = " and ".join(f"{plain(name, 60)} ({holds})" for name, holds in self.unread.items())
        options = ignoring(self.unread)
        proposes = f"virc data layout FILE proposes which column is what; {options} leaves out what is not to be read"
        return DataError(f"row {self.number}: nothing reads its {columns}", self.rewriting or proposes)

    @property
    def rewriting(self) -> str:
        """How to write its right answer, if only columns that are not read may hold it; else empty."""
        record = self.record
        if record is None or record.messages or record.answer or {"answers", "box", "boxes"} & record.extra.keys():
            return ""
        ways = ((_REWRITING.get(name, _REWRITING.get(holds, "")), name) for name, holds in self.unread.items())
        return "; ".join(way.format(plain(name, 60)) for way, name in ways if way)

    def known(self) -> Record:
        if self.record is None:
            raise self.fault or DataError(f"row {self.number} cannot be read")
        return self.record


def faulty_row(number: int, fault: DataError, place: str) -> ParsedRow:
    message = fault.message if fault.message.startswith(("row ", "line ")) else f"{place}{fault.message}"
    return ParsedRow(number, fault=DataError(message, fault.hint))


def read_row(
    number: int,
    fields: Mapping[str, Any],
    named: Collection[str],
    record: Record,
    folder: Path,
    left_out: Collection[str] = (),
    flaws: Iterable[str] = (),
    tags: Sequence[str] = (),
) -> ParsedRow:
    """A row whose columns `named` are read, and those `left_out` are not to be; a dot leads into an object.

    Args:
        tags: the names under which messages have their role and their text, before the usual ones.
    """
    check_texts(record)
    if left_out:
        tools = "" if "tools" in left_out else record.tools
        record = msgspec.structs.replace(record, extra=_without(record.extra, left_out, ""), tools=tools)
    found = tuple(flaws)
    lost = unread(fields, {*named, *left_out} if left_out else named, record, folder)
    in_messages = left_in_messages(fields, named, tags)
    lost |= {name: holds for name, (_, holds) in in_messages.items() if holds and name not in left_out}
    left = tuple((edge, name.rpartition(".")[2]) for name, (edge, _) in in_messages.items() if name not in lost)
    of_windows = (each.name for each in record.images if each.data is None and "\\" in each.name)
    left += tuple(("separator", each) for each in of_windows if not is_file(folder / each))
    return ParsedRow(number, record, None, found, lost, left)


def _without(fields: Mapping[str, Any], ignored: Collection[str], begin: str) -> dict[str, Any]:
    """Fields without those to be ignored; `begin` is the dotted name that they are within."""
    kept = {key: value for key, value in fields.items() if f"{begin}{key}" not in ignored}
    return {
        key: _without(value, ignored, f"{begin}{key}.") if isinstance(value, dict) else value
        for key, value in kept.items()
    }
