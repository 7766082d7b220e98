"""The problems of rows in any layout that `virc data` reads, as rows of a batch: `virc batch` and `virc eval` ask them.

They are those that `virc data convert --format batch` writes, but for their pictures, which stay where they are.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import msgspec

from virc.core.events import Reporter
from virc.core.tables.delimited import Numbered
from virc.data.convert.change import changed
from virc.data.convert.convert import ConvertConfig, part_of
from virc.data.convert.subset import SubsetSource
from virc.data.formats import batch
from virc.data.formats.registry import PUBLISHED, RowsFile, only_source
from virc.data.rows.numbered import NumberedRow
from virc.data.rows.record import Record
from virc.solving.rows import BatchRow
from virc.solving.sources.row_files import RowFile


def opened(
    path: Path,
    report: Reporter,
    trusted: bool = False,
    ignored: Collection[str] = (),
    own: Iterator[BatchRow] | None = None,
) -> RowFile | None:
    """Open the rows of a file or folder; None where a batch reads the file itself.

    Args:
        trusted, ignored: as of `open_rows`.
        own: the rows as a batch reads them, which a layout has to read otherwise; None: it does not read them.

    Raises:
        DataError: they are of no known layout, in several files, or nothing reads a part of what they are.
    """
    source = msgspec.structs.replace(only_source(path), ignore=tuple(ignored), trusted=trusted)
    is_own = source.format == batch.NAME or (own and source.format == PUBLISHED and _is_read_alike(source, own))
    if is_own and source.file == path:
        return None
    part = part_of(source, ConvertConfig((), Path(), batch.NAME))
    layout = f"the layout {source.laid_out.name}" if source.laid_out else f"the format {source.format}"
    for line in (f"{source.file} is read by {layout}", *source.reasons):
        report.note(line)

    def values() -> Iterator[Numbered]:
        return ((row.line, row.line, row.fault or row.passed) for row in _rows(part))

    return RowFile(_rows(part), source.media, values)


def _is_read_alike(source: RowsFile, own: Iterable[BatchRow]) -> bool:
    """Whether the first rows of a batch ask what its layout reads, with the same right answers."""
    of_batch = (batch.numbered(source, row).record for row in own)
    pairs = zip(of_batch, (row.record for row in source.rows()), strict=False)
    return all(other is None or (one is not None and _meant(one) == _meant(other)) for one, other in islice(pairs, 20))


def _meant(record: Record) -> Sequence[object]:
    further = [record.extra.get(name) for name in ("answers", "choices", "boxes")]
    return (record.question, record.answer, len(record.images), record.messages, further)


def _rows(part: SubsetSource) -> Iterator[BatchRow]:
    for row in part.rows():
        lost = row.lost and NumberedRow(row.number, fault=part.located(row.lost))
        yield batch.problem(lost or changed(part.change, row)[0], part.source.name)
