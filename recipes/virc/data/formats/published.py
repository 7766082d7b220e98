"""Rows as others published them: a layout says which column is what. They are only read.

Files are JSON, JSONL, parquet, or a folder that `datasets.save_to_disk` wrote.

A layout is one of the system that is named (`of_system`), one that many share (`shared`, from `virc.systems.layouts`),
that of an entry in `dataset_info.json` (`of_entry`), or one that the rows show (`guessed`), where the extra that looks
for it is installed.
"""

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, cast

import msgspec
from msgspec import UNSET

from virc.core import entry_points
from virc.core.errors import DataError
from virc.core.files import is_file
from virc.core.text import plain
from virc.data.formats.registry import PUBLISHED, Holds, LaidOut, RowsFile, numbered_rows
from virc.data.rows import raw
from virc.data.rows.laid_out import record_of
from virc.data.rows.llamafactory import COLUMNS
from virc.data.rows.numbered import ParsedRow, faulty_row, read_row
from virc.data.rows.record import Message, Record
from virc.data.rows.unread import PASSED
from virc.models.chat_protocol import of_system as protocol_of
from virc.reasoning.protocol import FILE_NAME
from virc.systems.layouts import registry as shared_layouts
from virc.systems.layouts.layout import Layout, value_of
from virc.systems.registry import System

NAME = PUBLISHED
HOLDS: Holds = "problems"
_GUESSED = "guessed"
_MAX_COMPARED = 20
_MAX_NAMED = 12


class Proposal(msgspec.Struct, frozen=True):
    """A layout that rows show; `reasons` and `unsure` say why, `unread` columns hold a part of the problem."""

    layout: Layout | None
    reasons: tuple[str, ...] = ()
    unsure: tuple[str, ...] = ()
    unread: Mapping[str, str] = {}


class Guess(Protocol):
    """What finds the layout that rows show: the module of the hook `layouts.guess`."""

    def propose(self, rows: Sequence[Mapping[str, Any]], folder: Path) -> Proposal:
        """The layout of the first rows of a file in a folder."""

    def unclear(self, row: Mapping[str, Any], layout: Layout, folder: Path) -> str | None:
        """Another meaning that a row may have than a layout gives it, in a sentence; None: it has none."""


def recognises(path: Path) -> bool:
    return shared(path, None) is not None


def shared(path: Path, system: System | None) -> LaidOut | None:
    """The shared layout that most of a file's first rows fit, where these are pairs, or no conversations."""
    found = _first_that_fits(path, _shared(system))
    if found is None or found.layout.chosen is not None or path.suffix.lower() == ".parquet":
        return found
    talks = any(not row.keys().isdisjoint(COLUMNS) for row in raw.beginning(path, _MAX_COMPARED))
    return None if talks else found


def guessed(path: Path) -> tuple[LaidOut | None, bool]:
    """The layout that the first rows of a file show, if they show one, and whether it reads all columns that matter."""
    if path.suffix.lower() not in raw.ENDINGS and not path.is_dir():
        return None, False
    found = proposal(path)
    sure = found.layout if not found.unsure else None
    return LaidOut(_GUESSED, sure, None, found.reasons) if sure else None, not found.unread


def of_entry(path: Path, entry: Mapping[str, Any]) -> LaidOut | None:
    """The layout of rows of alpaca by their entry in `dataset_info.json`, as LLaMA-Factory reads it; None of others."""
    columns = entry.get("columns", {"prompt": "instruction", "query": "input", "response": "output"})
    if entry.get("formatting", "alpaca") != "alpaca" or not isinstance(columns, dict):
        return None
    asked = [columns[name] for name in ("prompt", "query") if isinstance(columns.get(name), str)]
    sides = ("chosen", "rejected") if entry.get("ranking") else ("response",)
    fields = {"replied" if side == "response" else side: columns.get(side) for side in sides}
    others = ("images", "system", "history") if "response" in sides else ("images", "system")
    fields |= {name: columns[name] for name in others if columns.get(name)}
    question = {"text": "\n".join(f"{{{name}}}" for name in asked)}
    try:
        layout = msgspec.convert({"about": "rows of alpaca", "question": question, **fields}, Layout)
    except msgspec.ValidationError:
        return None
    first = next(iter(raw.beginning(path, 1)), {})
    needed = (*asked[:1], *map(columns.get, sides))
    return (
        LaidOut("alpaca", layout)
        if all(isinstance(name, str) and isinstance(first.get(name), str) for name in needed)
        else None
    )


def unsure(path: Path) -> str:
    return "; ".join(each.partition(": the columns are")[0] for each in proposal(path).unsure[:2])


def proposal(path: Path) -> Proposal:
    guess = _guess()
    if guess is None:
        return Proposal(None)
    return guess.propose(raw.beginning(path, _MAX_COMPARED), path if path.is_dir() else path.parent)


def _guess() -> Guess | None:
    return cast(Guess | None, entry_points.hook("layouts.guess"))


def best(path: Path, system: System | None) -> LaidOut | None:
    known = shared(path, system)
    if known is None or not all(known.layout.read() >= row.keys() for row in raw.beginning(path, 1)):
        return guessed(path)[0] or known
    return known


def of_system(path: Path, system: System | None) -> LaidOut | None:
    return _first_that_fits(path, _own(system))


def layouts(system: System | None) -> list[LaidOut]:
    return [*_own(system), *_shared(system)]


def columns_of(path: Path) -> str:
    row = next(iter(raw.beginning(path, _MAX_COMPARED)), {})
    return ", ".join(plain(name, 40) for name in islice(row, _MAX_NAMED)) + ", …" * (len(row) > _MAX_NAMED)


def read(source: RowsFile, start: int = 1) -> Iterator[ParsedRow]:
    assert source.laid_out
    layout, protocol = source.laid_out.layout, source.laid_out.protocol
    named, ids = PASSED | layout.read(), set[str | int]()
    guess = _guess() if source.laid_out.name == _GUESSED else None
    left_out = source.ignored

    def read_value(number: int, fields: dict[str, Any]) -> Iterator[ParsedRow]:
        assert source.laid_out
        if doubt := guess.unclear(fields, layout, source.media) if guess else None:
            raise DataError(doubt, f"virc data layout {shlex.quote(str(source.file))} writes a layout, to be changed")
        for at, each in enumerate(source.laid_out.rewritten(fields, number, source.media), 1):
            try:
                record = record_of(each, layout, source.media, protocol)
                if layout.explode:
                    record = msgspec.structs.replace(record, id=_id_of(record, number, at, fields, layout, ids))
                yield read_row(number, each, named, record, source.media, left_out)
            except DataError as fault:
                yield faulty_row(number, fault, f"row {number}: " + f"question {at}: " * bool(layout.explode))

    values = raw.rows_of(source.shards, start) if source.shards else raw.rows(source.file, start)
    yield from numbered_rows(source, values, read_value)


def _id_of(
    record: Record, number: int, at: int, fields: Mapping[str, Any], layout: Layout, ids: set[str | int]
) -> str | int:
    own = number if layout.id is None else value_of(fields, layout.id)
    id = record.id if own is UNSET else None if own is None else f"{own}-{at}"
    if id is None or id in ids:
        raise DataError("its id is empty" if id is None else f"its id {plain(str(id), 40)} is that of one before it")
    ids.add(id)
    return id


def _own(system: System | None) -> list[LaidOut]:
    if system is None or not system.rows:
        return []
    protocol = protocol_of(system)
    rewriting, rows = system.rewriting(), system.rows.items()
    return [LaidOut(name, layout, protocol, rewriting=rewriting) for name, layout in rows]


def _shared(system: System | None) -> list[LaidOut]:
    protocol = protocol_of(system) if system else None
    return [LaidOut(name, layout, protocol) for name, layout in shared_layouts.discover().items()]


def _first_that_fits(path: Path, known: Iterable[LaidOut]) -> LaidOut | None:
    if path.suffix.lower() not in raw.ENDINGS and not path.is_dir():
        return None
    known = [each for each in known if each.layout.of_file(path.name)]
    rows = raw.beginning(path, _MAX_COMPARED) if known else []
    if any(map(_is_written_here, rows)):
        return None
    folder = path if path.is_dir() else path.parent
    fitting = [(each, [row for row in each.first(rows, folder) if each.layout.fits(row)]) for each in known]
    least = max(1, len(rows) / 2)
    enough = [(each, fitted) for each, fitted in fitting if len(fitted) >= least]
    read = [(each, len(fitted), _messages(fitted[0], each.layout, folder)) for each, fitted in enough]
    has_protocol = is_file(folder / FILE_NAME)
    candidates = [
        (each, fitted, messages)
        for each, fitted, messages in read
        if not _is_in_other_words(messages, has_protocol, each)
    ]
    answered = [each for each in candidates if all(message.role == "assistant" for message in each[2][-1:])]
    most_fitting = max(answered or candidates, key=lambda each: each[1], default=None)
    return most_fitting[0] if most_fitting else None


def _messages(row: Mapping[str, Any], layout: Layout, folder: Path) -> tuple[Message, ...]:
    """The conversation of a row; empty where it has none, has its reply elsewhere, or cannot be read."""
    if layout.reply is not None:
        return ()
    try:
        return record_of(row, layout, folder, None).messages
    except DataError:
        return ()


def _is_in_other_words(messages: Sequence[Message], has_protocol: bool, known: LaidOut) -> bool:
    """Whether the conversations of a file are in another chat protocol than that of a layout's system.

    They are if their own lies next to them, as this package writes it, or if the first has another system message.
    """
    if known.layout.messages is None or known.protocol is None:
        return False
    system_message = next((message.content for message in messages[:1] if message.role == "system"), None)
    is_other = system_message is not None and system_message.strip() != known.protocol.system.strip()
    return is_other or has_protocol


def _is_written_here(row: Mapping[str, Any]) -> bool:
    """Whether this package wrote a row in verl's columns, which published rows may have too."""
    info = row.get("extra_info")
    return isinstance(info, Mapping) and "id_is_int" in info
