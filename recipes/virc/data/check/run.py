"""Check files of rows of any size on all cores: what is wrong with each row, and what the rows have together.

Read `check`: it goes through the files with `_Run.through`, which gets the result of each row from `check_rows`, counts
it in a `DatasetReport`, and yields the rows without faults; `_write_clean` writes those where they are wanted.
"""

import hashlib
import shlex
import shutil
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Literal

import msgspec

from virc.core.errors import DataError, UnreadError, UsageError
from virc.core.files import fresh_folder
from virc.core.text import counted
from virc.core.work.parallel import LostWorkerError, in_order
from virc.data.check import plain
from virc.data.check.llamafactory import check_entry
from virc.data.check.plain import rules_for
from virc.data.check.result import UNREAD, Counts, Fault, RowResult, Rules, Survey
from virc.data.check.row import check_row
from virc.data.formats.registry import HELD_OUT, RowsFile, Writing, named_sources, writer
from virc.data.rows import remembered
from virc.data.rows.fingerprint import Copies
from virc.data.rows.llamafactory import INFO
from virc.data.rows.numbered import ParsedRow
from virc.data.rows.pictures import PictureStore
from virc.data.rows.record import Id, Record, check_column, clips_of, group_of, placed_in
from virc.families import registry as families
from virc.models.chat_protocol import of_system
from virc.models.chat_protocol import written as protocol_bytes
from virc.reasoning.protocol import FILE_NAME, Coordinates
from virc.reasoning.resize import QWEN2
from virc.scoring.references import References
from virc.systems import registry as systems
from virc.tools import registry as tools

_AT_ONCE = 8
"""Rows that a process gets together: enough to outweigh the transfer, few enough to stop soon."""
_ROW_BITS = 40


class CheckConfig(msgspec.Struct, frozen=True):
    """What to check.

    Args:
        against: files and folders whose inputs must not be in those of `paths`, or nearly; they are checked as well.
        group_by: a column whose values in `against` must not be in `paths` either.
        coordinates: what boxes mean; `auto` finds out.
        system: name or file of the system in whose chat protocol and grammar rows are; None: that next to them, else
            our own.
        family: name or file of the family of models whose patch grid the rows were made on; None: Qwen2-VL's.
        first: faults of each kind that are passed to `on_fault`, and all that keep rows from being read.
        clean: new folder for the rows of `paths` without faults.
    """

    paths: Sequence[Path]
    against: Sequence[Path] = ()
    group_by: str | None = None
    coordinates: Coordinates | Literal["auto"] = "auto"
    system: str | None = None
    family: str | None = None
    layout: Path | None = None
    ignore: Sequence[str] = ()
    first: int = 5
    workers: int = 1
    clean: Path | None = None
    trust_rows: bool = False


class LocatedFault(msgspec.Struct, frozen=True):
    file: str
    row: int | None
    id: Id | None
    kind: str
    message: str
    stops: bool = True


class DatasetReport(msgspec.Struct):
    """What one file has.

    Args:
        reasons: why each of its columns was taken for a field, where its rows alone show that; what problems are for.
        held_out: its inputs must not be among those of the other files.
        left: what comes with the rows, is not used, and is not kept by `clean`.
        unread_columns: rows with each column that holds a part of the problem and is not read.
        unread_from: number of the first row that kept others from being read; None where all are.
        unread: number of the others; None where nobody knows how many.
        stops: those of the faults at which training stops.
    """

    name: str
    file: str
    format: str
    layout: str | None
    held_out: bool
    coordinates: Coordinates
    why: str
    rows: int = 0
    good: int = 0
    faults: Counter[str] = msgspec.field(default_factory=Counter)
    stops: Counter[str] = msgspec.field(default_factory=Counter)
    counts: Counts = Counts()
    left: list[dict[str, object]] = []
    unread_columns: Counter[str] = msgspec.field(default_factory=Counter)
    reasons: tuple[str, ...] = ()
    unread_from: int | None = None
    unread: int | None = 0

    @property
    def left_unread(self) -> str | None:
        if self.unread_from is None:
            return None
        rows = "the rows" if self.unread is None else counted(self.unread, "row")
        return f"{rows} behind row {self.unread_from} of {self.file} {'was' if self.unread == 1 else 'were'} not read"

    def cut_short(self, number: int, fault: UnreadError) -> None:
        if fault.rows == 0:
            return
        self.unread_from = self.unread_from or number
        self.unread = None if self.unread is None or fault.rows is None else self.unread + fault.rows

    def add(self, result: RowResult, faults: Sequence[Fault]) -> None:
        self.rows += 1
        self.good += not faults
        self.counts += result.counts
        self.add_faults(faults)

    def add_faults(self, faults: Sequence[Fault]) -> None:
        self.faults.update(fault.kind for fault in faults)
        self.stops.update(fault.kind for fault in faults if fault.stops)


class Report(msgspec.Struct):
    datasets: list[DatasetReport] = []
    kept: int = 0

    @property
    def rows(self) -> int:
        return sum(each.rows for each in self.datasets)

    @property
    def good(self) -> int:
        return sum(each.good for each in self.datasets)

    @property
    def faults(self) -> dict[str, int]:
        return _added(each.faults for each in self.datasets)

    @property
    def stops(self) -> dict[str, int]:
        return _added(each.stops for each in self.datasets)

    @property
    def left_unread(self) -> list[str]:
        return [text for each in self.datasets if (text := each.left_unread)]

    @property
    def summary(self) -> str:
        bad = self.rows - self.good
        if bad:
            faulty = f"{bad} of {counted(self.rows, 'row')} {'has' if bad == 1 else 'have'} faults"
            return "; ".join([faulty, *self.left_unread])
        return "no row has a fault, but a file as a whole has"


def _added(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total = sum(map(Counter, counts), Counter[str]())
    return dict(sorted(total.items(), key=lambda item: (-item[1], item[0])))


def check_rows_of(
    config: CheckConfig,
    on_fault: Callable[[LocatedFault], None] = lambda fault: None,
    on_row: Callable[[Report], None] = lambda report: None,
) -> Report:
    """Check all rows.

    Args:
        on_fault: called with the first faults of each kind as they are found, and all that keep rows from being read.

    Raises:
        DataError: there is nothing to check, or `clean` cannot be written.
        ConfigError: a chat protocol next to the rows cannot be read.
        UsageError: `clean` is in use, or two datasets of one name would be in it.
        VircError: the disk refuses.
    """
    remembered.forget()
    to_clean, against = (_sources(config, paths) for paths in (config.paths, config.against))
    names = Counter(source.name.casefold() for source in to_clean.values()) if config.clean else {}
    for name, count in names.items():
        if count > 1:
            raise UsageError(f"{count} datasets would be called {name}", "clean them one by one")
    existed = config.clean is not None and config.clean.exists()
    with fresh_folder(config.clean, option="clean") if config.clean else nullcontext() as folder:
        writing = Writing(PictureStore(folder), number=lambda: run.number) if folder else None
        by_name = {path for path, source in to_clean.items() if HELD_OUT.search(source.name)}
        held_out = {*against, *(by_name if len(by_name) < len(to_clean) else ())}
        if config.group_by and not held_out:
            raise UsageError("«--group-by» compares rows with those held out, and none are", "«--against VAL»")
        run = _Run(config, on_fault, on_row, compared=bool(held_out))
        all_sources = {**to_clean, **against}
        # those held out come first, so that their inputs are known when the other files are read
        for path in sorted(all_sources, key=lambda path: path not in held_out):
            source = all_sources[path]
            good = run.through(source, path in held_out)
            if writing and path in to_clean:
                run.report.kept += _write_clean(source, good, writing)
            for _ in good:  # rows that are not written are checked too
                pass
    if config.clean and not (run.report.kept or existed):
        config.clean.rmdir()  # nothing is in it
    if not run.report.rows:
        raise DataError(f"there are no rows in {', '.join(map(str, config.paths))}")
    return run.report


def key_of(*parts: object) -> int:
    text = "\0".join(map(str, parts)).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big", signed=True)


class _Run:
    def __init__(
        self,
        config: CheckConfig,
        on_fault: Callable[[LocatedFault], None],
        on_row: Callable[[Report], None],
        compared: bool,
    ) -> None:
        self.report = Report()
        self.number = 0  # of the row that was passed on last
        self._config, self._on_fault, self._on_row, self._compared = config, on_fault, on_row, compared
        # Hash of an id or a held-out input -> where it came first: about 110 bytes for each.
        self._seen = dict[int, int]()
        self._copies = Copies[int]()  # of held-out inputs
        self._reported: Counter[str] = Counter()
        self._grid = families.get(config.family).grid if config.family else QWEN2
        self._system = systems.get(config.system) if config.system else None
        self._protocol = of_system(self._system) if self._system else None

    def through(self, source: RowsFile, held_out: bool) -> Iterator[Record]:
        rules, why = rules_for(source, _rows(source), self._config.coordinates, self._protocol)
        rules = msgspec.structs.replace(rules, grid=self._grid, compared=self._compared)
        number = len(self.report.datasets)
        layout = source.laid_out.name if source.laid_out else None
        dataset = DatasetReport(source.name, str(source.file), source.format, layout, held_out, rules.coordinates, why)
        dataset.reasons = source.reasons
        if source.holds == "problems" and not held_out:
            to_sft = f"virc data convert {shlex.quote(str(source.file))} --to DIR --format sft --answers"
            dataset.reasons += (f"problems without solutions are for RL and virc eval; for SFT: {to_sft}",)
        self.report.datasets.append(dataset)
        of_entry = check_entry(source)
        if other := plain.other_than_system(source, self._system) if self._system else None:
            of_entry.append(Fault("chat_protocol", ": ".join(other), stops=False))
        dataset.add_faults(of_entry)
        left = (each for each in source.left if not any(each[1] in fault.message for fault in of_entry))
        self._report_faults(dataset, None, of_entry)
        survey, references = Survey(), References()
        survey.left.add_all(left, f"{source.name} of {INFO}")
        for row, result in check_rows(_rows(source), rules, self._config.workers):
            faults = [*result.faults, *self._repeated(number, row, result), *self._leaked(number, row, result)]
            survey.add(row, faults)
            dataset.add(result, faults)
            references.add(row.number, result.references)
            dataset.unread_columns.update(row.unread.keys())
            if isinstance(row.fault, UnreadError):
                dataset.cut_short(row.number, row.fault)
            self._report_faults(dataset, row, faults)
            self._on_row(self.report)
            if not faults and row.record:
                self.number = row.number
                yield row.record
        dataset.left = survey.left.fields()
        columns = {name for row in survey.kept if row.record for name in row.record.extra}
        check_column(self._config.group_by, source.file, columns)
        of_file = [] if dataset.stops or not dataset.rows else list(_no_protocol(source, rules, survey))
        of_file += [
            Fault("convention", f"{each.message}: {each.hint}", stops=kind != "looks")
            for kind, each in references.conventions().items()
        ]
        dataset.add_faults(of_file)
        self._report_faults(dataset, None, of_file)

    def _repeated(self, dataset: int, row: ParsedRow, result: RowResult) -> Iterator[Fault]:
        if result.key is None:
            return
        key = key_of("id", dataset, result.key)
        if (first := self._seen.setdefault(key, row.number)) != row.number:
            yield Fault("duplicate_id", f"row {first} has the same id", stops=False)

    def _leaked(self, dataset: int, row: ParsedRow, result: RowResult) -> Iterator[Fault]:
        # one number has both: the row in the low bits, the dataset above them
        here, held_out = dataset << _ROW_BITS | row.number, self.report.datasets[dataset].held_out
        inputs = {key_of("input", pixels): each for pixels, each in result.inputs.items()}
        keys, column = dict.fromkeys(inputs, "an input of it is held out"), self._config.group_by
        clips = clips_of(row.record) if row.record else ()
        keys |= {key_of("clip", each): "a clip or document of it is held out" for each in clips}
        if row.record and (value := group_of(row.record, column)) is not None:
            keys[key_of("group", value)] = f"its {column} {value[:60]!r} is held out"
        for key, what in keys.items():
            place = self._seen.setdefault(key, here) if held_out else self._seen.get(key)
            if held_out and place == here and key in inputs:
                self._copies.add(inputs[key], here)
            elif not held_out and place:
                yield self._leak(what, place)
            elif not held_out and key in inputs and (place := next(self._copies.of(inputs[key]), None)):
                yield self._leak("an input of it is nearly one that is held out", place)

    def _leak(self, what: str, place: int) -> Fault:
        other, number = self.report.datasets[place >> _ROW_BITS], place & 2**_ROW_BITS - 1
        return Fault("leak", f"{what}: {other.name}, row {number}")

    def _report_faults(self, dataset: DatasetReport, row: ParsedRow | None, faults: Iterable[Fault]) -> None:
        for fault in faults:
            self._reported[fault.kind] += 1
            if self._reported[fault.kind] <= self._config.first or fault.kind == UNREAD:
                row_id = row.record.id if row and row.record else None
                number = row.number if row else None
                self._on_fault(LocatedFault(dataset.file, number, row_id, fault.kind, fault.message, fault.stops))


def _write_clean(source: RowsFile, records: Iterator[Record], writing: Writing) -> int:
    first = next(records, None)
    if first is None:
        return 0
    settings = msgspec.structs.replace(writing, embed=any(picture.data is not None for picture in first.images))
    folder = writing.pictures.folder
    placed = map(partial(placed_in, folder), chain([first], records))
    written: int = writer(source.written_as).write(folder, source.name, placed, settings)
    if (source.media / FILE_NAME).is_file():
        shutil.copyfile(source.media / FILE_NAME, folder / FILE_NAME)
    elif source.laid_out and source.laid_out.protocol and source.holds != "problems":
        (folder / FILE_NAME).write_bytes(protocol_bytes(source.laid_out.protocol))
    return written


def _no_protocol(source: RowsFile, rules: Rules, survey: Survey) -> Iterator[Fault]:
    """The fault of a file whose chat protocol is neither given, nor shown by its rows, nor unnecessary."""
    given = rules.protocol and survey.with_system(rules.protocol.system)
    if given or source.holds == "problems" or plain.protocol_of(survey, ""):
        return
    records = (row.record for row in survey.kept if row.record)
    try:
        if source.holds != "prompts" or not plain.of_records(records):
            plain.shown_by(source, survey.whole)
    except DataError as error:
        yield Fault("chat_protocol", error.message)


def rows_of(config: CheckConfig) -> Iterator[tuple[RowsFile, ParsedRow]]:
    return ((source, row) for source in _sources(config, config.paths).values() for row in _rows(source))


def _sources(config: CheckConfig, paths: Sequence[Path]) -> dict[Path, RowsFile]:
    found = named_sources(paths, config.system, config.layout, config.ignore, config.trust_rows)
    return {each.file.resolve(): each for each in found}


def _rows(source: RowsFile) -> Iterator[ParsedRow]:
    """The rows of a file; if the rest of it cannot be read, one more row has that fault."""
    number = 0
    try:
        for row in source.rows():
            number = row.number
            yield row
    except DataError as fault:
        yield ParsedRow(number + 1, fault=UnreadError(fault.message, fault.hint))


def check_rows(rows: Iterable[ParsedRow], rules: Rules, workers: int) -> Iterator[tuple[ParsedRow, RowResult]]:
    """Each row with its result, in order; with 1 worker they are checked in this process."""
    if workers == 1:
        yield from ((row, check_row(rules, row)) for row in rows)
        return
    under_way: deque[list[ParsedRow]] = deque()  # chunks that the workers have, whose results are still to come
    tool_sources = tools.sources(rules.protocol.tools) if rules.protocol else ()

    def chunks() -> Iterator[list[ParsedRow]]:
        source = iter(rows)
        while chunk := list(islice(source, _AT_ONCE)):
            under_way.append(chunk)
            yield chunk

    remaining = chunks()
    while True:
        try:
            for found in in_order(partial(_check, rules, tool_sources), remaining, workers):
                yield from zip(under_way.popleft(), found, strict=True)
            return
        except LostWorkerError:
            unchecked = [row for chunk in under_way for row in chunk]
            under_way.clear()
            yield from zip(unchecked, _one_by_one(unchecked, rules, tool_sources), strict=True)


def _check(rules: Rules, tool_sources: Sequence[str], rows: list[ParsedRow]) -> list[RowResult]:
    tools.load(tool_sources)
    return [check_row(rules, row) for row in rows]


def _one_by_one(rows: list[ParsedRow], rules: Rules, tool_sources: Sequence[str]) -> Iterator[RowResult]:
    """Results of one process, so that it is known which row ends it; a new process goes on after that row."""
    while rows:
        done = 0
        try:
            for results in in_order(partial(_check, rules, tool_sources), ([row] for row in rows), 1, apart=True):
                done += 1
                yield from results
        except LostWorkerError:
            message = "checking it ends the process: an image that breaks the decoder, or the memory"
            yield RowResult((Fault("crash", message),))
            done += 1
        rows = rows[done:]
