"""Rows of any size of file, looked through on all cores: what is wrong with each, and what they hold together."""

import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from itertools import chain
from pathlib import Path
from typing import Literal

import msgspec

from virc.core.errors import DataError, UsageError
from virc.core.files import fresh_folder
from virc.data.check import dataset_info
from virc.data.check.crowd import verdicts
from virc.data.check.report import Dataset, Found, Report
from virc.data.check.rules import rules_for
from virc.data.check.seen import Seen, key_of
from virc.data.check.verdict import Fault, Verdict
from virc.data.convert.pictures import PictureStore
from virc.data.formats.registry import Row, Source, Writing, get, sources
from virc.data.rows.record import Record
from virc.models.chat_protocol import of_system
from virc.reasoning.protocol import FILE_NAME, Coordinates
from virc.systems import registry as systems

HELD_OUT = re.compile(
    r"(?<![a-z])(?:val|valid|validation|test|dev|eval|held[-_ ]?out)(?![a-z])", re.IGNORECASE
)
"""What the name of a dataset says that is not to be trained on."""


class CheckConfig(msgspec.Struct, frozen=True):
    """What to look at.

    Args:
        paths: files, or folders of them.
        against: files and folders whose inputs must not be in those of `paths`; they are checked as well.
        coordinates: what boxes mean; `auto` finds out.
        system: name or file of the system in whose chat protocol and grammar rows are; None: that beside them, else
            our own.
        first: faults of each kind that are told; all are counted.
        workers: processes; 1 checks in this one.
        clean: new folder for the rows of `paths` without faults.
    """

    paths: Sequence[Path]
    against: Sequence[Path] = ()
    coordinates: Coordinates | Literal["auto"] = "auto"
    system: str | None = None
    first: int = 5
    workers: int = 1
    clean: Path | None = None


def check(
    config: CheckConfig,
    on_fault: Callable[[Found], None] = lambda found: None,
    on_row: Callable[[Report], None] = lambda report: None,
) -> Report:
    """Check all rows.

    Args:
        on_fault: told of the first faults of each kind, as they are found.
        on_row: told after each row what was found up to it.

    Raises:
        DataError: there is nothing to check, or `clean` cannot be written.
        ConfigError: a chat protocol beside the rows cannot be read.
        UsageError: `clean` is in use, or two datasets of one name would be in it.
        VircError: the disk refuses.
    """
    own = _files(config.paths)
    turns = _in_turn(own, _files(config.against))
    if config.clean:
        _check_names(own.values())
    with Seen() as seen, fresh_folder(config.clean) if config.clean else nullcontext() as folder:
        run = _Run(config, seen, on_fault, on_row)
        cleaned = _Cleaned(folder, config.clean) if folder and config.clean else None
        for source, held_out in turns:
            good = run.through(source, held_out)
            if cleaned and source.file.resolve() in own:
                run.report.kept += cleaned.write(source, good)
            for _ in good:  # those that nobody took
                pass
    return run.report


class _Run:
    """One check: what was found so far."""

    def __init__(
        self,
        config: CheckConfig,
        seen: Seen,
        on_fault: Callable[[Found], None],
        on_row: Callable[[Report], None],
    ) -> None:
        self.report = Report()
        self._config, self._seen, self._on_fault, self._on_row = config, seen, on_fault, on_row
        self._told: Counter[str] = Counter()
        self._spoken = of_system(systems.get(config.system)).protocol if config.system else None

    def through(self, source: Source, held_out: bool) -> Iterator[Record]:
        """Check a file; its records without faults, in order, as far as they are taken."""
        rules, why = rules_for(source, _rows(source), self._config.coordinates, self._spoken)
        number = len(self.report.datasets)
        dataset = Dataset(source.name, str(source.file), source.format, held_out, rules.coordinates, why)
        self.report.datasets.append(dataset)
        of_all = list(dataset_info.check(source))
        dataset.count(Counter(fault.kind for fault in of_all))
        self._tell(dataset, None, of_all)
        for row, verdict in verdicts(_rows(source), rules, self._config.workers):
            faults = [*verdict.faults, *self._repeated(number, verdict), *self._leaked(number, verdict)]
            dataset.add(verdict, faults)
            self._tell(dataset, verdict, faults)
            self._on_row(self.report)
            if not faults and row.record:
                yield row.record

    def _repeated(self, dataset: int, verdict: Verdict) -> Iterator[Fault]:
        if verdict.key is None:
            return
        key = key_of("id", dataset, verdict.key)
        if first := self._seen.get(key):
            yield Fault("duplicate_id", f"row {first} has the same id")
        else:
            self._seen.add(key, verdict.number)

    def _leaked(self, dataset: int, verdict: Verdict) -> Iterator[Fault]:
        for pixels in verdict.inputs:
            key = key_of("input", pixels)
            if self.report.datasets[dataset].held_out:
                self._seen.add(key, dataset << 40 | verdict.number)
            elif place := self._seen.get(key):
                other = self.report.datasets[place >> 40]
                yield Fault("leak", f"an input of it is held out: {other.name}, row {place & 2**40 - 1}")

    def _tell(self, dataset: Dataset, verdict: Verdict | None, faults: Iterable[Fault]) -> None:
        for fault in faults:
            self._told[fault.kind] += 1
            if self._told[fault.kind] <= self._config.first:
                row, its = (verdict.number, verdict.id) if verdict else (None, None)
                self._on_fault(Found(dataset.file, row, its, fault.kind, fault.message))


class _Cleaned:
    """The folder of the rows without faults.

    Args:
        folder: to fill.
        to: where it will lie.
    """

    def __init__(self, folder: Path, to: Path) -> None:
        self._folder, self._settings = folder, Writing(PictureStore(folder), to)

    def write(self, source: Source, records: Iterator[Record]) -> int:
        """The records as a dataset in the format they came in, with its chat protocol; returns how many there are."""
        first = next(records, None)
        if first is None:
            return 0
        embed = any(picture.data is not None for picture in first.images)
        settings = msgspec.structs.replace(self._settings, embed=embed)
        records = chain([first], records)
        written: int = get(source.format).write(self._folder, source.name, records, settings)
        if (source.media / FILE_NAME).is_file():
            shutil.copyfile(source.media / FILE_NAME, self._folder / FILE_NAME)
        return written


def _files(paths: Iterable[Path]) -> dict[Path, Source]:
    """The files of rows at some paths, each once, by where they really are."""
    return {source.file.resolve(): source for path in paths for source in sources(path)}


def _check_names(files: Iterable[Source]) -> None:
    for name, count in Counter(source.name.casefold() for source in files).items():
        if count > 1:
            raise UsageError(f"{count} datasets would be called {name}", "clean them one by one")


def _in_turn(own: dict[Path, Source], others: dict[Path, Source]) -> list[tuple[Source, bool]]:
    """Files with whether they are held out; those that are come first."""
    named = {path for path, source in own.items() if HELD_OUT.search(source.name)}
    held_out = {*others, *(named if len(named) < len(own) else ())}
    turns = [(source, path in held_out) for path, source in {**own, **others}.items()]
    return sorted(turns, key=lambda turn: not turn[1])


def _rows(source: Source) -> Iterator[Row]:
    """The rows of a file; what keeps the rest of it from being read comes as one more."""
    number = 0
    try:
        for row in get(source.format).read(source):
            number = row.number
            yield row
    except DataError as fault:
        yield Row(number + 1, fault=fault)
