"""The file of the answers of a batch, as JSON lines or as a table, which a rerun continues.

Read `write_answers` first; `AnswerSheet` makes the record of a row in a table.
"""

import csv
import io
import json
import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import chain
from pathlib import Path
from typing import IO, Any

import msgspec

from virc.core.errors import DataError, NoAnswerError, UsageError, fields_of
from virc.core.events import Reporter
from virc.core.files import is_file, is_folder, is_path
from virc.core.json_stream import one_line
from virc.core.result_log import Claims, Ledger
from virc.core.text import plain
from virc.models.costs import Budget
from virc.solving.batch import RowDone, as_line, made_with
from virc.solving.image_source import STREAM
from virc.solving.one import SCHEMA
from virc.solving.outcome import Fields
from virc.solving.progress import Answers
from virc.solving.rows import BatchRow
from virc.solving.sources.picture_files import ENDINGS
from virc.solving.sources.row_files import RowFile
from virc.solving.traces.files import check_writable

_OURS = (
    "answer", "error", "model", "turns", "tool_calls", "prompt_tokens", "completion_tokens", "seconds", "trace"
)  # fmt: skip
USUAL = "answers.csv"
_DELIMITERS = {".csv": None, ".tsv": "\t"}  # None: as the rows have it
_UNWRITTEN = {*ENDINGS, ".parquet", ".xlsx", ".xls", ".ods", ".json", ".html"}
RUN = "run"
"""The last column, from which the same command continues."""
_BOM = b"\xef\xbb\xbf"
_FORMULA = ("=", "+", "-", "@", "\t", "＝", "＋", "－", "＠")
_NUMBER = re.compile(r"[+-][\d.,\u00a0 ]*\d(?:[eE][+-]?\d{1,4})?\s?[A-Za-z°µΩ%]{0,9}")


class Sheet:
    """Records that are rows of a table; `bom`: with a byte order mark, by which spreadsheets know UTF-8."""

    def __init__(self, columns: Sequence[str], delimiter: str = ",", bom: bool = False) -> None:
        self._delimiter = delimiter
        self.header = (_BOM if bom else b"") + self._row([*map(cell, columns), RUN]) + b"\n"

    def line(self, values: Iterable[object], run: object) -> bytes:
        return self._row([*map(cell, values), one_line(run)])

    def end(self, file: IO[bytes]) -> int | None:
        """The end of the last whole record, of a file that is read from its start; None if it is another table."""
        begin = file.read(len(self.header))
        if begin != self.header:
            return 0 if self.header.startswith(begin) else None
        return len(begin) + sum(map(len, _records(file)))

    def records(self, file: IO[bytes]) -> Iterator[bytes]:
        file.seek(len(self.header))
        return _records(file)

    def known(self, record: bytes) -> bytes:
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
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = "" if value is None else text
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")
    computed = len(text) > 1 and text.startswith(_FORMULA) and not _NUMBER.fullmatch(text)
    return f"'{text}" if computed else text


def _records(file: IO[bytes]) -> Iterator[bytes]:
    """The whole records of a file: a line, or several if a text in quotes has lines."""
    record, is_quoted = list[bytes](), False
    for line in file:
        record.append(line)
        if line.count(b'"') % 2 == 1:
            is_quoted = not is_quoted
        if line.endswith(b"\n") and not is_quoted:
            yield b"".join(record)
            record.clear()


class Lines(Claims):
    """The output of a batch that is not kept in a file, so that no row was done before."""

    resumed = 0

    def __init__(self, on_line: Callable[[str], None]) -> None:
        super().__init__()
        self._on_line = on_line

    def append(self, line: bytes) -> None:
        self._on_line(line.decode())


class AnswerSheet:
    """Answers as rows of a table; a column of the rows that has a name of ours gets `input_` in front."""

    def __init__(self, rows: RowFile, delimiter: str | None, report: Reporter) -> None:
        self._report, self._left_out = report, set[str]()
        self._is_pipe = rows.again is None
        self._columns = [name for name in rows.columns() if name != "id"]
        ours = ("id", *_OURS, RUN)
        named = [f"input_{name}" if name in ours else name for name in self._columns]
        bom = rows.bom and delimiter is None
        self.layout = Sheet(("id", *named, *_OURS), delimiter or rows.delimiter, bom)

    def line(self, done: RowDone, known: Mapping[str, Any]) -> bytes:
        """A row's record, without its newline; `known` are the fields of every row."""
        row, fields, error = done.row, done.fields, done.error
        if self._is_pipe:
            self._warn_of_columns(row.passed.keys() - {"id", *self._columns} - self._left_out)
        has_image = len(row.images) == 1 and "image" in self._columns
        images: Fields = {"image": row.images[0]} if has_image else {"images": list(row.images) or None}
        named_images = {name: value for name, value in images.items() if "data:" not in str(value)[:8].lower()}
        given = [(row.passed | named_images).get(name) for name in self._columns]
        tokens, calls = fields.get("tokens") or {}, fields.get("calls")
        values = {
            "answer": fields.get("answer"),
            "error": error and fields_of(error)["message"],
            "model": known.get("model"),
            "turns": fields.get("turns"),
            "tool_calls": None if calls is None else sum(calls.values()),
            "prompt_tokens": tokens.get("prompt"),
            "completion_tokens": tokens.get("completion"),
            "seconds": fields.get("seconds"),
            "trace": fields.get("trace"),
        }
        run = {"schema": SCHEMA, "id": row.id, "row": row.digest, "error": error and {"code": error.code}}
        run |= {key: known.get(key) for key in ("model", "protocol", "settings")}
        return self.layout.line([row.id, *given, *(values[name] for name in _OURS)], run)

    def _warn_of_columns(self, names: Iterable[str]) -> None:
        for name in names:
            self._left_out.add(name)
            sentence = f"the column {plain(name, 60)!r} is not in the first row, and is left out of the table"
            self._report.warn(sentence, "--to FILE.jsonl keeps every column")


def check_files(sources: Sequence[str], to: str | None) -> None:
    if to in (None, STREAM):
        return
    file = Path(str(to))
    suffix = file.suffix.lower()
    if suffix in _UNWRITTEN:
        raise UsageError(f"answers are written as .jsonl, .csv or .tsv, not {suffix}", f"--to {file.stem}.csv")
    if any(source != STREAM and is_file(source) and file.resolve() == Path(source).resolve() for source in sources):
        ending = suffix if suffix in _DELIMITERS else ".jsonl"
        raise UsageError(f"the rows and the answers are the same file, {to}", f"--to answers{ending}")
    if is_path(file) and not is_file(file):
        raise UsageError(f"{to} is not a file", f"--to {shlex.quote(str(file / USUAL)) if is_folder(file) else USUAL}")
    check_writable(file.parent, "answers", f"--to {shlex.quote(file.name)}")


def with_rows(rows: RowFile) -> RowFile:
    """Raises DataError: there are no rows."""
    first = next(rows.rows, None)
    if first is None:
        raise DataError("there are no rows", "name a file with rows below its header")
    return msgspec.structs.replace(rows, rows=chain([first], rows.rows))


def without_answered(rows: RowFile, to: str | None, known: Fields, report: Reporter) -> tuple[RowFile, bool]:
    """The same rows, and whether all have answers in `to` that were made with what is `known`, which is reported then.

    Raises:
        VircError: the file cannot be continued.
    """
    if to in (None, STREAM) or not is_file(Path(str(to))):
        return rows, False
    with _ledger(str(to), known, _sheet(to, rows, report)) as ledger:
        passed = list[BatchRow]()  # their ids alone: they are not solved
        ids = set[str]()
        for row in rows.rows:
            is_answered = row.fault is None and row.digest and ledger.before(row.id or "") == row.digest
            if not is_answered or str(row.id) in ids:
                return msgspec.structs.replace(rows, rows=chain(passed, [row], rows.rows)), False
            ids.add(str(row.id))
            passed.append(BatchRow(row.line, row.id, digest=row.digest))
        report.note(str(Answers(ledger.resumed, report)))
    return rows, True


def _ledger(to: str, known: Fields, sheet: AnswerSheet | None) -> Ledger:
    return Ledger(Path(to), SCHEMA, made_with(known), {NoAnswerError.code}, layout=sheet.layout if sheet else None)


def _sheet(to: str | None, rows: RowFile, report: Reporter) -> AnswerSheet | None:
    suffix = Path(str(to)).suffix.lower()
    return AnswerSheet(rows, _DELIMITERS[suffix], report) if suffix in _DELIMITERS else None


def write_answers(
    solve_rows: Callable[[Claims, Callable[[RowDone], None]], None],
    rows: RowFile,
    to: str | None,
    known: Fields,
    blank: Mapping[str, object],
    report: Reporter,
    on_line: Callable[[str], None],
    budget: Budget,
) -> None:
    """Write a line for every row that `solve_rows` reports, and report how many there were."""
    kept = to not in (None, STREAM)
    sheet = _sheet(to, rows, report)
    sink: AbstractContextManager[Ledger | Lines] = nullcontext(Lines(on_line))
    if kept:
        sink = _ledger(str(to), known, sheet)
    total = rows.count()
    with sink as answers:
        progress = Answers(answers.resumed, report, total, budget)
        answers.may_begin = budget.may_begin

        def on_row(done: RowDone) -> None:
            fields = {**blank, **known}
            answers.append(sheet.line(done, fields) if sheet else as_line(done, fields))
            progress.add(done)

        try:
            solve_rows(answers, on_row)
        except KeyboardInterrupt:
            again = "; the same command continues with them" if kept else ""
            report.note(f"interrupted: rows in work have no line and no trace{again}")
            raise
        finally:
            report.note(str(progress))
    progress.check(kept)
