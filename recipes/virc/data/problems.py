"""The problems of rows in any layout that `virc data` reads, as rows of a batch: `virc batch` and `virc eval` ask them.

They are those that `virc data convert --format batch` writes, but for their pictures, which stay where they are.
"""

import shlex
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path

import msgspec

from virc.core.errors import UsageError
from virc.core.events import Reporter
from virc.core.tables.delimited import Numbered
from virc.core.text import plain
from virc.data.check.result import USUAL_SYSTEM
from virc.data.convert.change import changed
from virc.data.convert.convert import ConvertConfig, part_of
from virc.data.convert.subset import SubsetSource
from virc.data.formats import batch
from virc.data.formats.registry import PUBLISHED, RowsFile, only_source
from virc.data.rows.numbered import ParsedRow
from virc.data.rows.record import Record, system_of
from virc.reasoning.media import media_reader
from virc.solving.rows import ProblemRow
from virc.solving.sources.row_files import RowFile, rows_of

_LOOKED_AT = 20  # rows


def source_of(
    path: Path, trusted: bool = False, ignored: Collection[str] = (), beside: RowFile | None = None
) -> RowsFile | None:
    """The source of the rows of a file or folder; None where they are those of a batch.

    Args:
        trusted, ignored: as of `open_rows`.
        beside: the same file as a batch reads it, which its layout has to read otherwise.

    Raises:
        UsageError: they name clips or documents, which a layout does not open.
        DataError: they are in no layout that is known, or in several files.
    """
    clips = media_reader("rows")
    if beside is None and clips and clips.names_media(path):
        convert = f"virc data convert {shlex.quote(str(path))} --to DIR --format batch"
        raise UsageError(f"{path} names clips or documents", f"{convert} writes their frames and pages as images")
    source = msgspec.structs.replace(only_source(path), ignore=tuple(ignored), trusted=trusted)
    is_alike = beside is not None and source.format == PUBLISHED and _is_read_alike(source, beside)
    return None if source.file == path and (source.format == batch.NAME or is_alike) else source


def opened(source: RowsFile, report: Reporter) -> RowFile:
    """The problems of a source. Raises DataError: nothing reads a part of it."""
    part = part_of(source, ConvertConfig((), Path(), batch.NAME))
    layout = f"the layout {source.laid_out.name}" if source.laid_out else f"the format {source.format}"
    for line in (f"{source.file} is read by {layout}", *source.reasons):
        report.note(line)
    rows = part.rows()
    first = [*islice(rows, _LOOKED_AT)]
    if not (part.change.chat_protocol and part.change.chat_protocol.tools):
        _name_what_is_not_asked([row.record for row in first if row.record], report)

    def values() -> Iterator[Numbered]:
        return ((row.line, row.line, row.fault or row.passed) for row in _problems(part, part.rows()))

    return RowFile(_problems(part, chain(first, rows)), source.media, values)


def _name_what_is_not_asked(records: Sequence[Record], report: Reporter) -> None:
    """Warn of what conversations say besides their first question."""
    if systems := {*map(system_of, records)} - {"", USUAL_SYSTEM}:
        sentence = f"the system message of these rows is not sent: {plain(min(systems), 60)}"
        report.warn(sentence, "write it in front of the questions")
    if any(sum(each.role == "user" for each in record.messages) > 1 for record in records):
        report.warn("of a conversation with several questions, the first alone is asked")


def _is_read_alike(source: RowsFile, beside: RowFile) -> bool:
    """Whether the first rows of a batch ask what its layout reads, with the same right answers."""
    contents = beside.again() if beside.again else ()
    ones = (batch.numbered(source, row).record for row in rows_of(contents, as_problems=True))
    pairs = islice(zip(ones, (row.record for row in source.rows()), strict=False), _LOOKED_AT)
    return all(other is None or (one is not None and _meant(one) == _meant(other)) for one, other in pairs)


def _meant(record: Record) -> Sequence[object]:
    further = [record.extra.get(name) for name in ("answers", "choices", "boxes")]
    return (record.question, record.answer, len(record.images), record.messages, further)


def _problems(part: SubsetSource, rows: Iterable[ParsedRow]) -> Iterator[ProblemRow]:
    for row in rows:
        lost = row.lost and ParsedRow(row.number, fault=part.located(row.lost))
        yield batch.problem(lost or changed(part.change, row)[0], part.source.name)
