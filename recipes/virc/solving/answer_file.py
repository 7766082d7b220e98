"""The file of the answers of a batch, which a rerun continues: JSON lines, of which a table is made at the end.

Read `write_answers` first.
"""

import csv
import io
import json
import re
import shlex
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import nullcontext
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec

from virc.core.errors import ConfigError, DataError, NoAnswerError, UsageError
from virc.core.events import Reporter
from virc.core.files import is_file, is_folder, is_path, write_whole, writing
from virc.core.result_log import Claims, Ledger
from virc.models.costs import Budget
from virc.solving.batch import RowDone, SolveRows, as_line, shared_settings
from virc.solving.image_source import STREAM
from virc.solving.one import SCHEMA
from virc.solving.outcome import Fields
from virc.solving.progress import Answers
from virc.solving.rows import ProblemRow
from virc.solving.sources.picture_files import ENDINGS
from virc.solving.sources.row_files import RowFile
from virc.solving.traces.files import check_writable

USUAL = "answers.csv"
_DELIMITERS = {".csv": None, ".tsv": "\t"}  # None: as the rows have it
_UNWRITTEN = {*ENDINGS, ".parquet", ".xlsx", ".xls", ".ods", ".json", ".html"}
_FORMULA = ("=", "+", "-", "@", "\t", "＝", "＋", "－", "＠")
_NUMBER = re.compile(r"[+-][\d.,\u00a0 ]*\d(?:[eE][+-]?\d{1,4})?\s?[A-Za-z°µΩ%]{0,9}")


def cell(value: object) -> str:
    """A value as the text of a cell; what a spreadsheet would compute as a formula gets an apostrophe in front."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = "" if value is None else text
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")
    computed = len(text) > 1 and text.startswith(_FORMULA) and not _NUMBER.fullmatch(text)
    return f"'{text}" if computed else text


class Lines(Claims):
    """The output of a batch that is not kept in a file, so that no row was done before."""

    resumed = 0

    def __init__(self, on_line: Callable[[str], None]) -> None:
        super().__init__()
        self._on_line = on_line

    def append(self, line: bytes) -> None:
        self._on_line(line.decode())


class AnswerTable:
    """A table of the answers of a file of lines; a column of the rows with a name of ours gets `input_` in front."""

    def __init__(self, to: str, rows: RowFile) -> None:
        self._file, delimiter = Path(to), _DELIMITERS[Path(to).suffix.lower()]
        self._columns = [name for name in rows.columns() if name != "id"]
        self._delimiter = delimiter or rows.delimiter
        self._encoding = "utf-8-sig" if rows.bom and delimiter is None else "utf-8"

    def with_images(self, row: ProblemRow) -> ProblemRow:
        """The row with the names of its images among the fields that are copied, where it has a column for them."""
        is_one = len(row.images) == 1 and "image" in self._columns
        name, images = ("image", row.images[0]) if is_one else ("images", row.images or None)
        is_named = name in self._columns and "data:" not in str(images)[:8].lower()
        return msgspec.structs.replace(row, passed=row.passed | {name: images}) if is_named else row

    def write(self, lines: Path, places: Mapping[str, int], outdated: Collection[tuple[str, str]]) -> None:
        """Write the table in the order of the input: `places` has each row's, by `_name`. A VircError if it cannot.

        Answers to former rows, which `outdated` has as `Claims` does, are left out.
        """
        with lines.open(encoding="utf-8") as file:
            current = (line for line in map(json.loads, file) if (str(line["id"]), line["row"]) not in outdated)
            answers = sorted(current, key=lambda line: places.get(_name(line), len(places)))
        inputs, records = [line["input"] for line in answers], list(map(_record, answers))
        names = [
            name
            for name in dict.fromkeys(chain(self._columns, *inputs))
            if not any(_has_objects(each.get(name)) for each in inputs)
        ]
        is_priced = any(record["cost"] is not None for record in records)
        ours = [name for name in _OURS if is_priced or name != "cost"]
        text = io.StringIO(newline="")
        table = csv.writer(text, delimiter=self._delimiter, lineterminator="\n")
        table.writerow(["id", *(cell(f"input_{name}" if name in _OURS else name) for name in names), *ours])
        for line, record in zip(answers, records, strict=True):
            table.writerow(map(cell, [line["id"], *map(line["input"].get, names), *map(record.get, ours)]))
        with writing(self._file):
            write_whole(self._file, text.getvalue().encode(self._encoding, "backslashreplace"))


def _record(line: Mapping[str, Any]) -> Fields:
    """The values of `_OURS` of a line."""
    tokens, calls, error = line.get("tokens") or {}, line.get("calls"), line.get("error")
    return {
        "answer": line.get("answer"),
        "error": error and error["message"],
        "model": line.get("model"),
        "turns": line.get("turns"),
        "tool_calls": None if calls is None else sum(calls.values()),
        "prompt_tokens": tokens.get("prompt"),
        "completion_tokens": tokens.get("completion"),
        "cost": line.get("cost"),
        "seconds": line.get("seconds"),
        "trace": line.get("trace"),
    }


_OURS = tuple(_record({}))


def _has_objects(value: object) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and any(isinstance(each, dict) for each in value))


def _name(line: Mapping[str, Any]) -> str:
    """The id of a row, or of one without the message of its fault, which has the number of its line."""
    return str(line["error"]["message"] if line["id"] is None else line["id"])


def check_files(sources: Sequence[str], to: str | None) -> None:
    if to in (None, STREAM):
        return
    file = Path(str(to))
    suffix = file.suffix.lower()
    if suffix in _UNWRITTEN:
        raise UsageError(f"answers are written as .jsonl, .csv or .tsv, not {suffix}", f"«--to {file.stem}.csv»")
    if any(source != STREAM and is_file(source) and file.resolve() == Path(source).resolve() for source in sources):
        ending = suffix if suffix in _DELIMITERS else ".jsonl"
        raise UsageError(f"the rows and the answers are the same file, {to}", f"«--to answers{ending}»")
    if is_path(file) and not is_file(file):
        raise UsageError(
            f"{to} is not a file", f"«--to {shlex.quote(str(file / USUAL)) if is_folder(file) else USUAL}»"
        )
    if suffix in _DELIMITERS and is_file(file) and file.stat().st_size and not is_file(_lines_of(file)):
        sentence = f"{to} is not the output of a batch: there is no {_lines_of(file).name} next to it"
        raise ConfigError(sentence, "use another «--to»")
    check_writable(file.parent, "answers", f"«--to {shlex.quote(file.name)}»")


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
    table = _table(to, rows)
    file = _lines_of(Path(str(to)))
    if to in (None, STREAM) or not is_file(file):
        return rows, False
    with _ledger(file, known) as ledger:
        passed = list[ProblemRow]()  # their ids alone: they are not solved
        places = dict[str, int]()
        for row in rows.rows:
            is_answered = row.fault is None and row.digest and ledger.before(row.id or "") == row.digest
            if not is_answered or str(row.id) in places:
                return msgspec.structs.replace(rows, rows=chain(passed, [row], rows.rows)), False
            places[str(row.id)] = len(places)
            passed.append(ProblemRow(row.line, row.id, digest=row.digest))
        if table:
            table.write(file, places, ledger.outdated)
        report.note(str(Answers(ledger.resumed, report)))
    return rows, True


def _lines_of(to: Path) -> Path:
    """The file of lines, from which the same command continues."""
    return to.with_name(f"{to.name}.jsonl") if to.suffix.lower() in _DELIMITERS else to


def _ledger(file: Path, known: Fields) -> Ledger:
    return Ledger(file, SCHEMA, shared_settings(known), {NoAnswerError.code})


def _table(to: str | None, rows: RowFile) -> AnswerTable | None:
    return AnswerTable(to, rows) if to and Path(to).suffix.lower() in _DELIMITERS else None


def write_answers(
    solve_rows: SolveRows,
    rows: RowFile,
    to: str | None,
    known: Fields,
    blank: Mapping[str, object],
    report: Reporter,
    on_line: Callable[[str], None],
    budget: Budget,
) -> None:
    """Write a line for every row that `solve_rows` reports, report how many there were, and write the table."""
    kept, table = to not in (None, STREAM), _table(to, rows)
    file, places = _lines_of(Path(str(to))), dict[str, int]()
    total = rows.count()

    def placed() -> Iterator[ProblemRow]:
        for row in rows.rows:
            places.setdefault(row.fault.message if row.id is None and row.fault else str(row.id), len(places))
            yield row

    with _ledger(file, known) if kept else nullcontext(Lines(on_line)) as answers:
        progress = Answers(answers.resumed, report, total, budget)
        answers.may_begin = budget.may_begin

        def on_row(done: RowDone) -> None:
            if table:
                done = msgspec.structs.replace(done, row=table.with_images(done.row))
            answers.append(as_line(done, {**blank, **known}))
            progress.add(done)

        try:
            solve_rows(placed(), answers, on_row, None)
        except KeyboardInterrupt:
            again = "; the same command continues with them" if kept else ""
            report.note(f"interrupted: rows in work have no line and no trace{again}")
            raise
        finally:
            if table:
                table.write(file, places, answers.outdated)
            progress.tell()
    progress.check(kept)
