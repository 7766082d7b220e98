"""Rows of a batch, from JSON lines, a JSON array, CSV, TSV or Parquet, or from pictures that share one question.

Read `open_rows` first: `_encoding_of` and `_is_table` detect what a file is, and `rows_of` makes rows of its values.
"""

import io
import itertools
import shlex
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import IO, Any, NamedTuple

import msgspec

from virc.core import entry_points
from virc.core.errors import DataError, UsageError, errors_as
from virc.core.events import Reporter
from virc.core.files import POINTER, PULL, expanded, is_file, is_folder
from virc.core.json_stream import Reader, array_rows, line_rows, reader_of
from virc.core.tables import parquet
from virc.core.tables.delimited import Numbered, read_table, with_images
from virc.core.tables.encodings import encoding_of, recoded
from virc.solving.image_source import STREAM, standard_input
from virc.solving.rows import MAX_LINE_BYTES, ProblemRow
from virc.solving.sources.columns import Columns, has_bytes, listed, odd_choices, read_row, resolve, unused_texts
from virc.solving.sources.meanings import unasked
from virc.solving.sources.picture_files import ROWS, is_picture, pictures_of
from virc.solving.sources.request_rows import SEVERAL_TURNS, RequestError, of_request, unused_fields

_HEAD = 2**12  # bytes at the beginning of a file, by which its kind is detected
_BOM = b"\xef\xbb\xbf"
_LINES = (".jsonl", ".ndjson")
_OF_ALPACA = {"instruction", "input", "output"}
"""Columns of rows whose question is in the first two."""
_OTHERS = (".arrow", ".feather", ".tar")
"""Endings of files that `virc.data` alone reads."""
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_PACKED: Mapping[bytes, tuple[str, str]] = {
    b"\x1f\x8b": ("is compressed with gzip", "gzip -dk {}"),
    b"\x28\xb5\x2f\xfd": ("is compressed with zstd", "zstd -dk {}"),
    b"PK\x03\x04": ("is a workbook or an archive", "save it as CSV; of an archive: virc unpack {}"),
    POINTER: ("is a pointer of Git LFS, not the rows", PULL),
    b"%PDF": ("is a PDF, not rows", "pdftoppm -r 200 -png {} page && virc batch 'page*.png' 'QUESTION'"),
}


class RowFile(msgspec.Struct, frozen=True):
    """Rows to be answered.

    Args:
        rows: in order, each read when the iterator reaches it; a wrong one has its `fault`.
        base: the folder that relative paths of images start from.
        again: reads the values of all rows from the beginning; None if they come through a pipe.
        names: the columns, if they are known before the rows are read.
        question: the question of every row; None if the rows have their own.
        delimiter: between the cells of a table.
        bom: whether a table of answers gets a byte order mark, by which spreadsheets detect UTF-8.
    """

    rows: Iterator[ProblemRow]
    base: Path = Path()
    again: Callable[[], Iterator[Numbered]] | None = None
    names: tuple[str, ...] | None = None
    question: str | None = None
    delimiter: str = ","
    bom: bool = False

    def count(self) -> int | None:
        return sum(1 for _ in self.again()) if self.again else None

    def columns(self) -> tuple[str, ...]:
        names = dict.fromkeys(self.names or ())
        if self.names is None and self.again is not None:
            for _, _, fields in self.again():
                names |= dict.fromkeys(fields) if isinstance(fields, dict) else {}
        if self.question is not None:
            names["question"] = None
        return tuple(names)


class _Asked(NamedTuple):
    """The arguments of `open_rows`; `as_problems` as of `read_row`."""

    question: str | None
    chosen: Mapping[str, str]
    report: Reporter
    ignored: Collection[str]
    trusted: bool = False
    as_problems: bool = False


@contextmanager
def open_rows(
    source: str | Sequence[str],
    question: str | None = None,
    chosen: Mapping[str, str] = {},
    report: Reporter | None = None,
    trusted: bool = False,
    ignored: Collection[str] = (),
) -> Iterator[RowFile]:
    """Open the rows of a file or dataset, or those of pictures, until the block ends.

    Args:
        chosen: field -> its column.
        trusted: whether rows may name files outside of their folder, and addresses that are not public.
        ignored: names of what messages of requests have, and a row would be wrong without, that are left out.
    """
    sources = [source] if isinstance(source, str) else list(source)
    report = report or Reporter()
    is_dataset = question is None and len(sources) == 1 and _has_rows(expanded(sources[0]))
    pictures = None if is_dataset else pictures_of(sources, report)
    if pictures is None and len(sources) > 1:
        loop = f'for f in {shlex.join(sources)}; do virc batch "$f" --to "$f.answers.jsonl"; done'
        raise UsageError("several sources, and not all are pictures", loop)
    if pictures is not None and not (question and question.strip()):
        raise UsageError("there is no question about the pictures", f"virc batch {shlex.join(sources)} 'QUESTION'")
    with ExitStack() as stack:
        if pictures is None:
            opened = _open_any(sources[0], _Asked(question, chosen, report, ignored, trusted), stack)
            yield msgspec.structs.replace(opened, rows=trusting(opened.rows)) if trusted else opened
            return
        contents: list[Numbered] = [(line, line, {"id": name, "image": name}) for line, name in enumerate(pictures, 1)]
        rows = rows_of(contents, {}, question)
        yield RowFile(trusting(rows), Path(), lambda: iter(contents), ("id", "image"), question)


@contextmanager
def open_problems(
    file: Path, report: Reporter, chosen: Mapping[str, str] = {}, ignored: Collection[str] = ()
) -> Iterator[RowFile]:
    """Open the rows of a file as `open_rows` does, each with its question, choices and answer by these names
    (`read_row`); by a layout also where that reads more of the first rows.
    """
    with ExitStack() as stack:
        yield _open_any(str(file), _Asked(None, chosen, report, ignored, as_problems=True), stack)


def _has_rows(folder: Path) -> bool:
    """Whether files of rows are in a folder, or in `data` in it, as in repositories of datasets."""
    inside = itertools.chain(folder.glob("*"), folder.glob("data/*")) if is_folder(folder) else ()
    return any(file.suffix.lower() in (*ROWS, *_OTHERS) for file in inside)


def _open_any(source: str, asked: _Asked, stack: ExitStack) -> RowFile:
    """Open a file of a batch, or, where its first row is none of a batch, rows in any layout that `virc data` reads."""
    path, own, as_problems = expanded(source), partial(_open, source, asked, stack), asked.as_problems
    if asked.question is not None or asked.chosen or not (is_file(path) or is_folder(path)):
        return own()
    is_theirs = is_folder(path) or path.suffix.lower() in _OTHERS

    def other(beside: RowFile | None = None) -> RowFile | None:
        problems: Any = entry_points.hook("rows.problems")  # by name: it is built on this room
        source = None
        with nullcontext() if is_theirs else suppress(DataError):  # no layout is known
            if problems:  # None: metadata of an earlier installation
                source = problems.source_of(path, asked.trusted, asked.ignored, beside if as_problems else None)
        found: RowFile | None = problems.opened(source, asked.report) if source else None
        return found

    try:
        opened = None if is_theirs else own()
    except DataError:
        if found := other():
            return found
        raise
    if opened and not as_problems and _is_asked(opened):
        return opened
    return other(opened) or opened or own()


def _is_asked(opened: RowFile) -> bool:
    """Whether the first row has the columns of a batch, and one of these has the whole question."""
    first = [fields for _, _, fields in itertools.islice(opened.again() if opened.again else (), 2)]
    fields = first[0] if first else {}
    if isinstance(fields, RequestError):
        return not fields.message.endswith(SEVERAL_TURNS)
    if isinstance(fields, DataError):
        return len(first) > 1  # else it is no list of rows
    turns = fields.get("messages")
    if isinstance(turns, list) and any(isinstance(each, dict) and each.get("role") == "assistant" for each in turns):
        return False  # its images may be those that the calls of the solution made
    try:
        columns = resolve(fields, {})
    except DataError:
        return False
    text, choices = fields.get(columns.question or "question"), fields.get(columns.choices or "choices")
    return not (isinstance(text, list) or isinstance(choices, dict) or fields.keys() >= _OF_ALPACA)


def trusting(rows: Iterable[ProblemRow]) -> Iterator[ProblemRow]:
    return (msgspec.structs.replace(row, trusted=True) for row in rows)


def rows_of(
    contents: Iterable[Numbered],
    chosen: Mapping[str, str] = {},
    question: str | None = None,
    say: Callable[[str], None] = lambda _: None,
    file: str = "FILE",
    as_problems: bool = False,
    folder: Path = Path(),
) -> Iterator[ProblemRow]:
    """Make rows of their values by column; a wrong row has its `fault`. `as_problems` is as in `read_row`.

    `say` gets sentences, each once: which columns are read, and which that hold a part of a question are not asked.
    """
    columns_of: dict[tuple[str, ...], Columns] = {}  # rows of JSON may have different columns
    noted: list[str] = []
    for line, number, fields in contents:
        if isinstance(fields, DataError):
            yield ProblemRow(line, fields.id if isinstance(fields, RequestError) else None, fault=fields)
            continue
        names = tuple(fields)
        try:
            columns = columns_of.get(names)
            if columns is None:
                columns = columns_of[names] = resolve(fields, chosen, question)
                if str(columns) and len(columns_of) == 1:
                    say(str(columns))
                if odd := [name for name in odd_choices(names, columns) if name not in noted]:
                    noted += odd
                    say(f"the question is asked without {' and '.join(odd)}, which are too many or have gaps")
            row = read_row(line, number, fields, columns, question, as_problems)
            unused = [] if row.fault else unused_texts(fields, row.question)
            if not (row.fault or as_problems):  # of those `virc.evaluation` asks what is not read
                unused += unasked(fields, {*columns.read, *unused}, folder)
            if unused := [name for name in unused if name not in noted]:
                noted += unused
                proposes = f"; virc data layout {shlex.quote(file)} proposes how virc data convert puts texts before it"
                say(f"the question is asked without {' and '.join(unused)}{proposes if file != 'FILE' else ''}")
            column = columns.choices or "choices"
            text = fields.get(column)
            if isinstance(text, str) and row.passed.get("choices") == [text] and column not in noted:
                noted.append(column)
                say(f"line {line}: its {column} are one text whose parts are not clear, and are asked as they stand")
            yield row
        except DataError as fault:
            id = fields["id"] if type(fields.get("id")) in (str, int) else None
            yield ProblemRow(line, id, fault=DataError(f"line {line}: {fault.message}", fault.hint))


def _open(source: str, asked: _Asked, stack: ExitStack) -> RowFile:
    question, chosen, report, ignored, _, as_problems = asked
    path = expanded(source) if source != STREAM and is_file(expanded(source)) else None
    with errors_as(DataError, f"cannot read the rows {source}"):
        file = standard_input() if source == STREAM else stack.enter_context(expanded(source).open("rb"))
        head = _head(file)
    _refuse(source, head)
    of_json = partial(_of_json, ignored=ignored)
    name, base = "FILE" if source == STREAM else source, path.parent if path else Path()
    rows_from = partial(
        rows_of, chosen=chosen, question=question, say=report.note, file=name, as_problems=as_problems, folder=base
    )
    if head.startswith(b"PAR1"):
        if path is None:
            raise DataError("Parquet is not read from a pipe", "cat > rows.parquet")
        names = tuple(parquet.open_file(path).schema_arrow.names)
        if names:
            resolve(names, chosen, question)  # before a model is paid for
        return RowFile(rows_from(_of_parquet(path)), base, partial(_of_parquet, path), names, question)
    encoding = _encoding_of(source, head, path, report)
    content = file.read() if path is None and encoding else b""

    def reopened() -> IO[bytes]:
        return recoded(path.open("rb") if path else io.BytesIO(content), encoding)

    def reread() -> Iterator[Numbered]:
        with reopened() as other:
            yield from read_table(other).rows if is_table else of_json(other, path)

    again = reread if path or encoding else None  # a pipe cannot be read twice
    if again:
        file = stack.enter_context(reopened())
        head = _head(file)
    is_table = _is_table(head, path)
    if is_table:
        names, delimiter, contents = read_table(file)
        contents = with_images(contents, again) if again else contents
        if names:
            resolve(names, chosen, question)
        is_spreadsheet = encoding is not None or head.startswith(_BOM)
        return RowFile(rows_from(contents), base, again, names, question, delimiter, is_spreadsheet)
    if again:
        return RowFile(rows_from(of_json(file, path, say=report.note)), base, again, question=question)
    contents = of_json(file, path, is_pipe=True, say=report.note)
    first = list(itertools.islice(contents, 1))  # the columns of a pipe are those of its first row
    names = tuple(first[0][2]) if first and isinstance(first[0][2], dict) else ()
    return RowFile(rows_from(itertools.chain(first, contents)), base, None, names, question)


def _encoding_of(source: str, head: bytes, path: Path | None, report: Reporter) -> str | None:
    """The encoding of a file, if it is not UTF-8; of a pipe by its first bytes alone."""
    if path is None:
        return "utf-16" if head.startswith(_UTF16) else None
    with path.open("rb") as file:
        encoding = encoding_of(file)
    if encoding == "utf-8-sig":
        return None
    if encoding:
        report.note(f"{source} is read as {encoding}")
    elif _is_table(head, path) and not _is_utf8(path):
        encoding = "cp1252"
        report.warn(
            f"{source} is not UTF-8, and is read as Windows-1252",
            f"iconv -f ENCODING -t UTF-8 {shlex.quote(source)} > utf8.csv, if it is in another encoding",
        )
    return encoding


def _head(file: IO[bytes]) -> bytes:
    """The first bytes of a file, which stands at its beginning afterwards."""
    if isinstance(file, io.BufferedReader):
        return file.peek(_HEAD)[:_HEAD]
    head = file.read(_HEAD)
    file.seek(-len(head), io.SEEK_CUR)
    return head


def _refuse(source: str, head: bytes) -> None:
    name = "FILE" if source == STREAM else shlex.quote(source)
    for magic, (sentence, hint) in _PACKED.items():
        if head.startswith(magic):
            raise DataError(f"{source} {sentence}", hint.format(name))
    if is_picture(head):
        raise DataError(f"{source} is a picture, not rows", f"virc solve {name} 'QUESTION'")
    if b"\0" in head and not head.startswith((*_UTF16, b"PAR1")):
        raise DataError(f"{source} is no text", "rows are JSON lines, a JSON array, CSV, TSV or Parquet")


def _is_table(head: bytes, path: Path | None) -> bool:
    """Whether a file is a table, not JSON, by its first bytes and its suffix."""
    suffix, begin = path.suffix.lower() if path else "", _begin(head)
    if begin.startswith(b"[") or suffix in _LINES or not begin:
        return False
    return not begin.startswith(b"{") or suffix in (".csv", ".tsv")


def _begin(head: bytes) -> bytes:
    return head.removeprefix(_BOM).lstrip()


def _is_utf8(path: Path) -> bool:
    with path.open("rb") as file:
        try:
            for line in iter(lambda: file.readline(MAX_LINE_BYTES), b""):
                line.decode()
        except UnicodeDecodeError:
            return False
    return True


def _of_json(
    file: IO[bytes],
    path: Path | None,
    is_pipe: bool = False,
    say: Callable[[str], None] = lambda _: None,
    ignored: Collection[str] = (),
) -> Iterator[Numbered]:
    """The rows of JSON; a pipe, which cannot be read twice, has an array or lines.

    `say` gets a sentence for the fields of requests that are not used, each once.
    """
    begin = _begin(_head(file))
    reader: Reader
    if is_pipe:
        reader = array_rows if begin.startswith(b"[") else line_rows
    else:
        reader = reader_of(file, not begin or (path is not None and path.suffix.lower() in _LINES))
    noted: list[str] = []
    for number, fields in line_rows(file, most=MAX_LINE_BYTES) if reader is line_rows else reader(file, 1):
        row = of_request(number, fields, ignored)
        unused = [] if isinstance(row, DataError) else [name for name in unused_fields(fields) if name not in noted]
        if unused:
            noted += unused
            options = "; «--model», «--max-tokens» and «--temperature» set those of all rows" * (
                len(noted) == len(unused)
            )
            say(f"the requests are asked without {listed(unused)} of their bodies{options}")
        yield number, number, row


def _of_parquet(path: Path) -> Iterator[Numbered]:
    for number, fields in parquet.read_rows(path):
        yield number, number, fields if isinstance(fields, DataError) else _as_json(fields)


def _as_json(fields: dict[str, Any]) -> dict[str, Any]:
    """Values of columns as JSON has them: times as text, null for NaN; images stay bytes."""
    images = {name: value for name, value in fields.items() if has_bytes(value)}
    values: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(fields | dict.fromkeys(images)))
    return values | images
