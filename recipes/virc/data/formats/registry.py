"""Formats of rows on disk, one file each; to add a format, add a file here.

A format module has:
    NAME: str                 what the user calls it (`--format NAME`)
    HOLDS: Holds              what its rows are: "solutions" (conversations up to the answer), "pairs" (a conversation
                              up to a reply, of which there is a better and a worse one), "prompts" (where a model
                              goes on) or "problems" (no conversation)
    recognises(path: Path) -> bool
                              whether a file is of this format, from its name and its beginning; never raises
    read(source: RowsFile, start: int = 1) -> Iterator[ParsedRow]
                              rows in order, one at a time, in bounded memory; a wrong row has its fault; rows before
                              the number `start` are skipped without being decoded
and, unless it is only read,
    LOST: str                 what a record loses when it is written in this format and read again; "" for nothing
    write(folder: Path, name: str, records: Iterable[Record], settings: Writing) -> int
                              the files of a dataset `name` in an existing folder; returns the rows written

`sources` finds the files of rows at a path and decides for each which format or layout it has (`_recognised`). A format
makes its rows with `numbered_rows`, and each with `read_row` of `data/rows/numbered.py`.
"""

import json
import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import msgspec

from virc.config import taken
from virc.core import plugins
from virc.core.errors import DataError, SetupError, UnreadError, UsageError, VircError, errors_as
from virc.core.files import PULL, contents, is_file, is_pointer
from virc.core.json_stream import once
from virc.core.tables.encodings import encoding_of, open_utf8
from virc.core.text import clause, did_you_mean, plain
from virc.data.rows import raw
from virc.data.rows.llamafactory import COLUMNS, INFO, ValuesOfFile, left_in_entry
from virc.data.rows.numbered import ParsedRow, faulty_row
from virc.data.rows.pictures import PictureStore
from virc.data.rows.record import MARK, PLACEHOLDERS, not_offered
from virc.reasoning.grammar import TAGS, Grammar
from virc.reasoning.media import media_reader
from virc.reasoning.protocol import FILE_NAME, UNITS, Protocol
from virc.solving.sources.meanings import by_name
from virc.systems import registry as systems
from virc.systems.layouts import registry as layouts
from virc.systems.layouts.layout import Layout
from virc.systems.registry import System

Holds = Literal["solutions", "pairs", "prompts", "problems"]
PUBLISHED = "published"
"""The format of rows that others published, which a layout describes."""
MAX_INFO_BYTES = 16 * 2**20
_MAX_NAMED = 3
_OF_VERL = ("rl", "prompts")
_OF_LLAMAFACTORY = ("sft", "trajectories", "pairs")
_MAX_COMPARED = 20
_MAX_BELOW = 2**14
_LIST_BEGINS = 64  # bytes of a file in which a list begins
_GZIP = b"\x1f\x8b"
HELD_OUT = re.compile(r"(?<![a-z])(?:val|valid|validation|test|dev|eval|held[-_ ]?out)(?![a-z])", re.IGNORECASE)
"""What the name of a dataset says that is not to be trained on."""
HUB = "data"
"""The folder of a dataset's repository that has its parquet files."""


class LaidOut(msgspec.Struct, frozen=True):
    """The layout of published rows, and the chat protocol of the system that published them, if one was named.

    `reasons` say, of a layout that the rows show, why each of its columns was taken. `rewriting` is the module of the
    system that makes what the layout reads of a row as it was published: `rows(row, number, layout, folder)` yields
    rows, or raises `DataError`.
    """

    name: str
    layout: Layout
    protocol: Protocol | None = None
    reasons: tuple[str, ...] = ()
    rewriting: Path | None = None

    def rewritten(self, row: Mapping[str, Any], number: int, folder: Path) -> Iterator[Mapping[str, Any]]:
        if self.rewriting is None:
            try:
                yield from self.layout.exploded(row) if self.layout.explode else (row,)
            except ValueError as error:
                raise DataError(str(error)) from error
            return
        try:
            yield from plugins.loaded(self.rewriting).rows(row, number, self.name, folder)
        except VircError:
            raise
        except Exception as error:  # of a row with other columns, or values of another kind
            reason = f"{type(error).__name__}: {clause(error)}"
            raise DataError(f"{self.rewriting.name} of its system cannot read it ({reason})") from error

    def first(self, rows: Iterable[Mapping[str, Any]], folder: Path) -> Iterator[Mapping[str, Any]]:
        """The first row that each row of a file becomes; a row that cannot be rewritten is not among them."""
        for row in rows:
            try:
                yield from islice(self.rewritten(row, 1, folder), 1)
            except DataError as error:
                if error.__cause__ is None:  # the system's module itself says that the row is faulty: it is of its kind
                    yield row

    @property
    def holds(self) -> Holds:
        if self.layout.chosen is not None:
            return "pairs"
        solved = self.layout.is_conversation or (self.protocol and self.layout.reply is not None)
        return "solutions" if solved else "problems"


class RowsFile(msgspec.Struct, frozen=True):
    """One file of rows.

    Args:
        name: of the dataset: its key in `dataset_info.json`, else the file's stem.
        info: its entry in `dataset_info.json` (`formatting`, `columns`, `tags`); empty where there is none.
        laid_out: how its rows are laid out, where others published them; `file` may then be a folder.
        shards: the files that it is in, where it is in several, of which `file` is the first.
        ignore: columns that the user leaves out; a dot leads into an object.
        trusted: whether its rows may name images outside of its folder, as the user vouches for them.
        left: what its entry in `dataset_info.json` names and nothing reads, each with its edge.
    """

    file: Path
    format: str
    name: str
    info: dict[str, Any] = {}
    laid_out: LaidOut | None = None
    shards: tuple[Path, ...] = ()
    ignore: tuple[str, ...] = ()
    trusted: bool = False
    left: tuple[tuple[str, str], ...] = ()

    def rows(self, values: ValuesOfFile | None = None) -> Iterator["ParsedRow"]:
        """The rows of the file; of one that engines read as it is, `values` gets what they say together."""
        read = get(self.format).read
        found: Iterator[ParsedRow] = read(self, values=values) if values and self.as_engines_read else read(self)
        return map(_trusting, found) if self.trusted else found

    @property
    def ignored(self) -> tuple[str, ...]:
        return (*self.ignore, *(self.laid_out.layout.ignore if self.laid_out else ()))

    @property
    def unread(self) -> list[str]:
        """What its entry names and its rows would be wrong without, but for columns that say so in each row."""
        columns = (self.info or {}).get("columns") or {}
        said = {name for name, column in columns.items() if isinstance(column, str) and by_name(column)}
        names = [name for edge, name in self.left if taken.is_refused(edge, name) and name not in self.ignored]
        return [name for name in names if name not in said]

    @property
    def holds(self) -> Holds:
        return self.laid_out.holds if self.laid_out else get(self.format).HOLDS

    @property
    def written_as(self) -> str:
        """Its format, or one for rows of its kind where it is only read."""
        is_written = hasattr(get(self.format), "write")
        return self.format if is_written else {"solutions": "sft", "pairs": "pairs"}.get(self.holds, "batch")

    @property
    def reasons(self) -> tuple[str, ...]:
        """What was decided without the user: encoding, columns, and the unit of boxes; a line each."""
        encoding = self.encoding
        lines: tuple[str, ...] = () if encoding in (None, "utf-8-sig") else (f"{self.file.name} is read as {encoding}",)
        if self.laid_out is None:
            return lines
        layout, protocol = self.laid_out.layout, self.laid_out.protocol
        units = layout.coordinates or (protocol.coordinates if protocol else "original")
        if layout.objects is not None:
            lines += (
                f"boxes of {layout.objects} are written in {UNITS[units]}; virc train writes what its base counts",
            )
        if layout.boxes is not None and units != "original":
            lines += (f"boxes are counted in {UNITS[units]}, and become pixels of the file",)
        return (*self.laid_out.reasons, *lines)

    @property
    def encoding(self) -> str | None:
        if self.file.suffix.lower() in (".parquet", ".arrow", ".feather", ".tar") or not is_file(self.file):
            return None
        with suppress(OSError), self.file.open("rb") as file:
            return encoding_of(file)
        return None

    @property
    def as_engines_read(self) -> bool:
        """Whether LLaMA-Factory reads the file as it is; else its rows are written again before training."""
        return self.format in _OF_LLAMAFACTORY and self.encoding is None and self.file.suffix.islower()

    @property
    def media(self) -> Path:
        return self.file if self.laid_out and self.file.is_dir() else self.file.parent


class Writing(msgspec.Struct, frozen=True):
    """How a format is written.

    Args:
        pictures: where images go; gives each its name in the rows.
        embed: put the images' bytes into the rows, as the published RL files do.
        grammar: how replies in the rows are written.
        number: returns the number that the record being written has in its source, for its new id; None: unknown.
    """

    pictures: PictureStore
    embed: bool = False
    grammar: Grammar = TAGS
    number: Callable[[], int] | None = None


def numbered_rows(
    source: RowsFile,
    values: Iterable[tuple[int, dict[str, Any] | DataError]],
    read: Callable[[int, dict[str, Any]], Iterable[ParsedRow]],
    unit: str = "row",
) -> Iterator[ParsedRow]:
    """The rows that `read` makes of numbered values, mostly one of each; where it cannot, one with the fault."""
    clips = media_reader("rows")
    for number, fields in values:
        try:
            if isinstance(fields, DataError):
                raise fields
            if clips:
                clips.check_pictures_alone(fields, source.file)
            yield from read(number, fields)
        except UnreadError as fault:
            yield ParsedRow(number, fault=fault)
        except DataError as fault:
            yield faulty_row(number, fault, f"{unit} {number}: ")


def _trusting(row: ParsedRow) -> ParsedRow:
    if row.record is None:
        return row
    images = tuple(msgspec.structs.replace(each, confined=False) for each in row.record.images)
    return msgspec.structs.replace(row, record=msgspec.structs.replace(row.record, images=images))


def names() -> tuple[str, ...]:
    return plugins.module_names("virc.data.formats")


def get(name: str) -> ModuleType:
    if name not in names():
        hint = did_you_mean(name, names(), f"formats are {', '.join(names())}")
        raise UsageError(f"there is no format {name}", hint)
    return plugins.module_of("virc.data.formats", name)


def writer(name: str) -> ModuleType:
    """The module of a format that is written, too. Raises UsageError: there is none of that name."""
    if not hasattr(module := get(name), "write"):
        raise UsageError(f"rows are not written in the format {name}", "«--format sft», pairs, batch or prompts")
    return module


def file_for(folder: Path, name: str, ending: str) -> Path:
    if not re.fullmatch(r"(?![. ])[^\x00-\x1f\x7f/\\:*?\"<>|\ud800-\udfff]{1,100}", name):
        raise UsageError(f"{name!r} cannot name a dataset", "use letters, digits, - and _")
    return folder / f"{name}{ending}"


def sources(
    path: Path,
    system: System | None = None,
    layout: Layout | None = None,
    ignore: Sequence[str] = (),
    trusted: bool = False,
) -> list[RowsFile]:
    """The files of rows at a path: the file itself; of a folder those its `dataset_info.json` names, and its parquet
    and JSONL files, or where it has none of these its other tables and lists. Named files that are missing are left
    out: one may have downloaded a part of a dataset.

    Args:
        system: whose published rows they may be; its layouts come before the formats.
        layout: how the rows are laid out, whatever they seem to be.
    """
    protocol = get(PUBLISHED).protocol_of(system) if layout and system else None
    given = LaidOut("given", layout, protocol) if layout else None
    found = _sources(path, system, given)
    return [msgspec.structs.replace(each, ignore=tuple(ignore), trusted=trusted) for each in found]


def named_sources(
    paths: Iterable[Path], system: str | None, layout: Path | None, ignore: Sequence[str], trusted: bool
) -> list[RowsFile]:
    """As `sources`, by the name of the system and the file of the layout."""
    known = systems.get(system) if system else None, layouts.read_layout(layout) if layout else None
    return [each for path in paths for each in sources(path, *known, ignore, trusted)]


def _sources(path: Path, system: System | None, given: LaidOut | None) -> list[RowsFile]:
    if path.is_dir():
        if raw.is_saved(path):
            return [_saved(path, system, given)]
        found = _in_folder(path, system, given)
        found = found or (_in_folder(path / HUB, system, given) if (path / HUB).is_dir() else [])
        return found or _unnamed(path, system, given)
    if not path.is_file():
        raise DataError(f"there is no file {path}")
    for name, entry in read_info(path.parent).items():
        if entry.get("file_name") == path.name:
            return [_source(path, name, entry, system, given)]
    return [_source(path, path.stem, {}, system, given)]


def _unnamed(folder: Path, system: System | None, given: LaidOut | None) -> list[RowsFile]:
    files = [file for file in sorted(folder.iterdir()) if file.suffix.lower() in raw.ENDINGS and file.is_file()]
    files = [file for file in files if file.name not in (INFO, FILE_NAME) and get(PUBLISHED).columns_of(file)]
    if found := [source for file in files if (source := _recognised(file, file.stem, {}, system, given))]:
        return found
    if files:
        unknown = _unknown(files[0], system)
        _, _, columns = unknown.message.partition("its columns are")
        raise DataError(
            f"{folder} holds no rows that are known: {files[0].name} has the columns{columns}", unknown.hint
        )
    below = sorted(file for file in islice(folder.glob("*/*"), _MAX_BELOW) if _seems_rows(file))
    if below:
        listed = _listed([file.relative_to(folder).as_posix() for file in below])
        raise DataError(f"{folder} holds no rows; files in it may: {listed}", f"name one of them: {below[0]}")
    raise DataError(f"{folder} holds no rows", f"name a file, or a folder with {INFO} or parquet files")


def solving(source: RowsFile, options: str = "") -> str:
    """The commands to type so that a model solves the problems of a source; `options` are of `virc data sample`."""
    more = f" {options}" if options else ""
    return f"virc data sample {shlex.quote(str(source.file))}{more} --to NEW"


def left_out(path: Path) -> list[str]:
    """Files that `dataset_info.json` names and that are missing; raises DataError if no other rows are at the path."""
    named = dict.fromkeys(file for _, _, file in _named(path)) if path.is_dir() else ()
    gone = [file for file in named if not is_file(path / file)]
    if gone:
        sources(path)
    return gone


def left_out_note(path: Path, system: System | None = None, layout: Layout | None = None) -> str | None:
    lines = []
    if missing := left_out(path):
        files = f"{len(missing)} files that are" if len(missing) > 1 else "a file that is"
        lines.append(f"{path / INFO} names {files} not there: {_listed(missing)}")
    if rows := [file for file in sorted(path.iterdir()) if _seems_rows(file)] if path.is_dir() else []:
        read = {file for each in sources(path, system, layout) for file in (each.file, *each.shards)}
        named = {file for _, _, file in _named(path)}
        rows = [file for file in rows if file not in read and file.name not in named]
    if others := [file.name for file in rows]:
        lines.append(f"{path} has files that may hold rows and are not read: {_listed(others)}")
    lines += raw.missing_shards(path) + raw.missing_shards(path / HUB)
    return "\n".join(lines) or None


def _seems_rows(file: Path) -> bool:
    if file.suffix.lower() == ".json" and file.is_file():
        with suppress(OSError), open_utf8(file) as opened:
            return opened.read(_LIST_BEGINS).lstrip().startswith(b"[")
        return False
    return _may_hold_rows(file) or (file.suffix.lower() in (".ndjson", ".csv", ".tsv") and file.is_file())


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_MAX_NAMED]) + (", …" if len(names) > _MAX_NAMED else "")


def only_source(path: Path, system: System | None = None, layout: Layout | None = None) -> RowsFile:
    found = sources(path, system, layout)
    if len(found) > 1:
        files = ", ".join(source.file.name for source in found[:8]) + (", …" if len(found) > 8 else "")
        first = shlex.quote(str(min(found, key=lambda source: bool(HELD_OUT.search(source.name))).file))
        raise DataError(f"{path} has {len(found)} files of rows: {files}", f"name one of them: {first}")
    return found[0]


def read_info(folder: Path) -> dict[str, dict[str, Any]]:
    try:
        text = contents(folder / INFO, MAX_INFO_BYTES)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise DataError(f"{folder / INFO} cannot be read: {clause(error)}") from None
    return parsed_info(text, str(folder / INFO))


def parsed_info(text: bytes, place: str) -> dict[str, dict[str, Any]]:
    with errors_as(DataError, f"{place} cannot be read", caught=(ValueError, RecursionError)):
        content = json.loads(text, object_pairs_hook=once)
    if not isinstance(content, dict) or not all(isinstance(entry, dict) for entry in content.values()):
        raise DataError(f"{place} is not an object with one object per dataset")
    return content


def recognised(file: Path) -> str | None:
    return next((name for name in names() if get(name).recognises(file)), None)


def _in_folder(folder: Path, system: System | None, given: LaidOut | None) -> list[RowsFile]:
    found, gone = [], None
    for name, entry, file in _named(folder):
        named = f"{folder / INFO} names {plain(file, 80)} for {plain(name, 80)}"
        if not is_file(folder / file):
            gone = gone or f"{named}, which is not there"
            continue
        if not (folder / file).resolve().is_relative_to(folder.resolve()):
            raise DataError(f"{named}, which is outside the folder", "name the file itself")
        found.append(_source(folder / file, name, entry, system, given))
    listed = {source.file for source in found}
    for other in sorted(folder.iterdir()):
        is_candidate = _may_hold_rows(other, system) and other not in listed  # other files are logs and the like
        if is_candidate and (source := _recognised(other, other.stem, {}, system, given)):
            if source.laid_out and (files := raw.shards_of(other)):
                source = msgspec.structs.replace(source, name=raw.dataset_name(other), shards=files)
                listed.update(files)
            found.append(source)
    if gone and not found:
        raise DataError(gone)
    return found


def _saved(folder: Path, system: System | None, given: LaidOut | None) -> RowsFile:
    published = get(PUBLISHED)
    splits = raw.saved_splits(folder)
    if len(splits) > 1:
        raise DataError(f"{folder} has the splits {', '.join(splits)}", f"name one of them: {folder / splits[0]}")
    place = folder / splits[0] if splits else folder
    laid_out = given or published.of_system(place, system) or published.best(place, system)
    if laid_out is None:
        raise _unknown(place, system)
    return RowsFile(place, PUBLISHED, folder.name, {}, laid_out)


def _may_hold_rows(file: Path, system: System | None = None) -> bool:
    endings = (".parquet", ".jsonl", ".json") if system and system.rows else (".parquet", ".jsonl")
    return file.suffix.lower() in endings and file.name not in (INFO, FILE_NAME) and file.is_file()


def _named(folder: Path) -> Iterator[tuple[str, dict[str, Any], str]]:
    if raw.is_saved(folder):  # whose file of that name says something else
        return
    for name, entry in read_info(folder).items():
        file = entry.get("file_name")
        if isinstance(file, str):  # else it is a dataset on a hub
            yield name, entry, file


def _unknown(file: Path, system: System | None) -> DataError:
    try:
        start = b""
        if not file.is_dir():
            with file.open("rb") as opened:
                start = opened.read(len(_GZIP))
    except OSError as error:
        return DataError(f"{file} cannot be read: {clause(error)}")
    if start == _GZIP:
        return DataError(f"{file} is compressed with gzip", f"gzip -dk {shlex.quote(str(file))}")
    hint = f"formats are {', '.join(names())}"
    if file.is_dir() and (fault := raw.fault(file)):
        return fault
    columns = get(PUBLISHED).columns_of(file)
    if not columns:
        return _unreadable(file, start, hint)
    known = ", ".join(each.name for each in get(PUBLISHED).layouts(system))
    unsure = get(PUBLISHED).unsure(file)
    if re.match(r"(?i)the picture .+\.(?:jpe?g|png|webp|tiff?|bmp) that ", unsure):
        return DataError(f"{file}: {unsure.partition('; ')[0]}", "copy the pictures there")
    asked = f"virc data layout {shlex.quote(str(file))} --write mine.yaml proposes one, for «--layout mine.yaml»"
    if "no column is known as the question" in unsure:
        fields = r"about: mine\nquestion: COLUMN\nanswer: COLUMN\nimages: COLUMN\n"
        asked = f"printf '{fields}' > mine.yaml, with the names of your columns, for «--layout mine.yaml»"
    return DataError(
        f"{file} is of no known format: its columns are {columns}" + (f"; {unsure}" if unsure else ""),
        f"{asked}; {hint}; layouts are {known}",
    )


def _unreadable(file: Path, start: bytes, hint: str) -> DataError:
    reason = raw.fault(file) if file.suffix.lower() in raw.ENDINGS and file.suffix.lower() != ".parquet" else None
    why = plain(reason.message.replace(f"{file} ", "it ", 1), 200) if reason else ""
    if not start:
        why, hint = "it is empty", "name a file with rows"
    elif start == b"{'":
        why, hint = f"its rows are texts of Python's objects; {why}", "json.dumps(row) writes a row as JSON"
    elif "not UTF-8" in why:
        written = f"iconv -f ENCODING -t UTF-8 {shlex.quote(str(file))} > NEW{file.suffix}"
        why, hint = why.partition(": iconv")[0], f"{written} rewrites it, from WINDOWS-1252, CP949 or what it is in"
    return DataError(f"{file} is of no known format" + (f": {why}" if why else ""), hint)


def _source(file: Path, name: str, info: dict[str, Any], system: System | None, given: LaidOut | None) -> RowsFile:
    source = _recognised(file, name, info, system, given)
    if source is None:
        raise _unknown(file, system)
    return source


def _recognised(
    file: Path, name: str, info: dict[str, Any], system: System | None, given: LaidOut | None
) -> RowsFile | None:
    """The source that a file is; None where neither its name nor its rows show what it is.

    The first of these that fits decides: a layout of the system; the entry in `dataset_info.json` (`info`), which comes
    even before that layout unless the system rewrites its pairs, as no entry can say how; a format that reads the first
    rows; a layout that the rows show; a format that reads them in part.
    """
    if is_pointer(file):
        raise DataError(f"{file} is a pointer of Git LFS, not the rows", PULL)
    if clips := media_reader("rows"):
        for row in raw.beginning(file, _MAX_COMPARED):  # whose format may not be known
            clips.check_pictures_alone(row, file)
    if given:
        return RowsFile(file, PUBLISHED, name, {}, given)
    certain, entry = get(PUBLISHED).of_system(file, system), info
    if info and not (certain and certain.rewriting and certain.layout.chosen):
        certain = get(PUBLISHED).of_entry(file, info)
        info = {} if certain else info  # the layout has what the entry says
    format_name = PUBLISHED if certain else recognised(file)
    laid_out = certain or (get(PUBLISHED).shared(file, system) if format_name == PUBLISHED else None)
    is_pairs = format_name == "pairs" or (certain is not None and certain.holds == "pairs")
    left = left_in_entry(entry, certain is not None, is_pairs)
    source = RowsFile(file, format_name, name, info, laid_out, left=left) if format_name else None
    if certain or info or (source and _is_read(source)):
        return source
    guess, all_read = get(PUBLISHED).guessed(file)
    if guess and (all_read or source is None or not _is_read(source, 1, with_columns=False)):
        return RowsFile(file, PUBLISHED, name, {}, guess)
    return source if source is None or _is_ours(source) else None


def _is_read(source: RowsFile, most: int = _MAX_COMPARED, with_columns: bool = True) -> bool:
    """Whether the format reads at least half of the first rows: with every column that matters (`with_columns`), and
    with a mark for each image of a conversation. Of files for verl, whose rows are large, only the first row is read.
    """
    of_verl = source.format in _OF_VERL
    try:
        rows = list(islice(source.rows(), 1 if of_verl else most))
        lost = with_columns and not of_verl and (any(row.unread for row in rows) or _has_unread_objects(source, most))
        records = [row.record for row in rows if row.record]
        marks = [sum(message.content.count(MARK) for message in each.messages) for each in records]
        whole = [not each.messages or count == len(each.images) for each, count in zip(records, marks, strict=True)]
        return 2 * sum(whole) >= len(rows) and not lost and not (records and all(map(not_offered, records)))
    except (DataError, SetupError):
        return True  # the same error is raised where the file is read


def _has_unread_objects(source: RowsFile, most: int) -> bool:
    """Whether texts of the first rows have placeholders for `objects`, which the formats of engines do not read."""
    rows = raw.beginning(source.file, most)
    return any(row.get("objects") and PLACEHOLDERS.search(str(row)) for row in rows)


def _is_ours(source: RowsFile) -> bool:
    """Whether some row of a file has what its format asks of all: a conversation, or the id of a problem."""
    needed = {"sft": COLUMNS, "trajectories": COLUMNS, "batch": ("id",)}.get(source.format)
    rows = raw.beginning(source.file, _MAX_COMPARED) if needed else []
    return not rows or any(not row or not row.keys().isdisjoint(needed or ()) for row in rows)
