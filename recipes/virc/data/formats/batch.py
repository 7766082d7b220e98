"""Problems as `virc batch` reads them: one per line, with the names of their images."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from virc.core.errors import DataError
from virc.core.files import expanded
from virc.core.json_stream import line_rows, one_line
from virc.data.formats.registry import Holds, RowsFile, Writing, file_for, numbered_rows
from virc.data.formats.sft import first_row, opened
from virc.data.rows.llamafactory import COLUMNS
from virc.data.rows.numbered import ParsedRow, faulty_row, read_row
from virc.data.rows.record import Picture, Record, inputs_of
from virc.solving.image_source import data_url_bytes
from virc.solving.rows import MAX_LINE_BYTES, as_row
from virc.solving.rows import ProblemRow as Problem
from virc.solving.sources.columns import picture_of
from virc.solving.sources.meanings import KNOWN

NAME = "batch"
HOLDS: Holds = "problems"
LOST = "the system message, the trajectory with its images, the counterfactual of a problem; a record gets an id"
_NAMED = KNOWN | {"image", "images", "question", "answer"}


def recognises(path: Path) -> bool:
    row = first_row(path) if path.suffix.lower() == ".jsonl" else None
    if row is None or not row.keys().isdisjoint(COLUMNS) or {"chosen", "rejected"} <= row.keys():
        return False
    return "question" in row and not {"image", "images"}.isdisjoint(row)


def read(source: RowsFile, start: int = 1) -> Iterator[ParsedRow]:
    with opened(source.file) as file:
        values = line_rows(file, start, MAX_LINE_BYTES)
        yield from numbered_rows(source, values, lambda *row: [numbered(source, as_row(*row))], "line")


def numbered(source: RowsFile, problem: Problem) -> ParsedRow:
    if problem.fault:
        return ParsedRow(problem.line, fault=problem.fault)
    try:
        record = record_of(problem, source.media)
        named = _NAMED if record.answer is not None else _NAMED - {"answer"}
        return read_row(problem.line, problem.passed, named, record, source.media, source.ignored)
    except DataError as fault:
        return faulty_row(problem.line, fault, f"line {problem.line}: ")


def write(folder: Path, name: str, records: Iterable[Record], settings: Writing) -> int:
    count = 0
    with file_for(folder, name, ".jsonl").open("w", encoding="utf-8") as out:
        for count, record in enumerate(records, 1):
            number = settings.number() if settings.number else count
            out.write(_line(record, f"{name}-{number}", settings) + "\n")
    return count


def record_of(problem: Problem, media: Path) -> Record:
    rest = dict(problem.passed)
    answers = rest.get("answers")
    first = str(answers[0]) if isinstance(answers, list) and answers else None
    rest.pop("counterfactual", None)  # its picture is not copied
    return Record(
        images=tuple(_picture(name, media) for name in problem.images),
        id=problem.id,
        question=rest.pop("question"),  # as it is written: that of the problem has the choices in it
        answer=str(rest.pop("answer")) if type(rest.get("answer")) in (str, int, float) else first,
        extra=rest,
    )


def _picture(name: str, media: Path) -> Picture:
    if name[:5].lower() == "data:":
        return Picture("", media, data_url_bytes(name))
    return Picture(str(expanded(name)) if name.startswith("~") else name, media, fetched=True)


def problem(row: ParsedRow, dataset: str) -> Problem:
    """The row of a batch that a row of another format is; its pictures stay where they are."""
    try:
        fields = _fields(row.known(), f"{dataset}-{row.number}", lambda each: picture_of(each.data) or each.name)
    except DataError as fault:
        return Problem(row.number, row.record.id if row.record else None, fault=fault)
    return as_row(row.number, fields)


def _line(record: Record, new_id: str, settings: Writing) -> str:
    """The row of a record, checked by the reader of batch files, so that no wrong row is written."""
    row = _fields(record, new_id, lambda each: each.name if each.on_network else settings.pictures.name(each, record))
    try:
        line = one_line(row)
    except ValueError as error:
        raise DataError(f"row {row['id']!r} cannot be JSON: {error}") from None
    if fault := as_row(1, row).fault:
        raise DataError(f"row {row['id']!r} is no row of a batch: {fault.message}")
    return line


def _fields(record: Record, new_id: str, name: Callable[[Picture], str]) -> dict[str, Any]:
    known = new_id if record.id is None else record.id
    if record.question is None:
        raise DataError(
            f"the question of row {known!r} is not known, only the chat protocol around it",
            "name the chat protocol: «--protocol virc_protocol.json»",
        )
    names = [name(record.images[index]) for index in inputs_of(record) if index < len(record.images)]
    images: dict[str, Any] = {"image": names[0]} if len(names) == 1 else {"images": names}
    row = {"id": known} | images | {"question": record.question}
    if record.answer is not None:
        row["answer"] = record.answer
    return row | {key: value for key, value in record.extra.items() if key not in row}
