"""The output of a batch as a table: a record is a row, whose last cell has what a rerun needs."""

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import IO

from virc.core.json_stream import one_line

RUN = "run"
"""The last column, from which the same command continues."""
_BOM = b"\xef\xbb\xbf"
_FORMULA = ("=", "+", "-", "@", "\t", "＝", "＋", "－", "＠")
_NUMBER = re.compile(r"[+-][\d.,\u00a0 ]*\d(?:[eE][+-]?\d{1,4})?\s?[A-Za-z°µΩ%]{0,9}")


class Sheet:
    """Records that are rows of a table; a `virc.core.result_log.Layout`.

    Args:
        columns: all but the last.
        delimiter: between two cells.
        bom: begin with a byte order mark, by which spreadsheets know UTF-8.
    """

    def __init__(self, columns: Sequence[str], delimiter: str = ",", bom: bool = False) -> None:
        self._delimiter = delimiter
        self.header = _BOM * bom + self._row([*map(cell, columns), RUN]) + b"\n"

    def line(self, values: Iterable[object], run: object) -> bytes:
        """A record, without its newline."""
        return self._row([*map(cell, values), one_line(run)])

    def end(self, file: IO[bytes]) -> int | None:
        """The position behind the last whole record of a file that is at its start; None where it is another table."""
        begin = file.read(len(self.header))
        if begin != self.header:
            return 0 if self.header.startswith(begin) else None
        return len(begin) + sum(map(len, _records(file)))

    def records(self, file: IO[bytes]) -> Iterator[bytes]:
        """The records of a file that is at its start."""
        file.seek(len(self.header))
        return _records(file)

    def known(self, record: bytes) -> bytes:
        """The last cell of a record. Raises ValueError: it cannot be read."""
        try:
            return next(csv.reader(io.StringIO(record.decode(), newline=""), delimiter=self._delimiter))[-1].encode()
        except (csv.Error, IndexError, StopIteration) as error:
            raise ValueError(str(error)) from error

    def _row(self, cells: Sequence[str]) -> bytes:
        text = io.StringIO(newline="")
        csv.writer(text, delimiter=self._delimiter, lineterminator="\n").writerow(cells)
        return text.getvalue().removesuffix("\n").encode("utf-8", "backslashreplace")


def cell(value: object) -> str:
    """A value as the text of a cell; what a spreadsheet would compute as a formula gets an apostrophe in front."""
    text = "" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")
    computed = len(text) > 1 and text.startswith(_FORMULA) and not _NUMBER.fullmatch(text)
    return f"'{text}" if computed else text


def _records(file: IO[bytes]) -> Iterator[bytes]:
    """The whole records of a file from here on: lines, and more of them where a text in quotes goes on."""
    record, within = list[bytes](), False
    for line in file:
        record.append(line)
        within ^= line.count(b'"') % 2 == 1
        if line.endswith(b"\n") and not within:
            yield b"".join(record)
            record.clear()
