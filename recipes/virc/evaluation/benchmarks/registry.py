"""Benchmarks: how one is found by its name, its dataset on the hub or a path, and its problems.

A benchmark module has what `Benchmark` lists; extras and packages name one by an entry point of `virc.benchmarks`.
Its rows are those of the batch format. In addition to `answer` and `choices` they say how an answer counts (`decimals`,
`tolerance`) and which parts of the benchmark a problem belongs to (`category`). A user's own benchmark is a file of
such rows, as `virc batch` reads it.
"""

import re
import shlex
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import msgspec

from virc.config.taken import ignoring
from virc.core.errors import ConfigError, DataError, UsageError, errors_as
from virc.core.events import Reporter
from virc.core.files import DATA, expanded, is_file, is_folder
from virc.core.text import clause, did_you_mean, plain
from virc.download.benchmarks import installed, named, names, on_hub
from virc.solving.rows import ProblemRow, as_row
from virc.solving.sources.row_files import RowFile, open_problems

PROBLEMS = "problems.jsonl"  # in a folder that `virc data synth` made
_MAX_LOOKED_AT = 20  # rows of a file of problems
_MAX_NAME = 100  # characters of a division or a part

Fields = dict[str, Any]
Placed = tuple[str, Fields | DataError]
"""The place of a problem, as the beginning of a sentence, and its fields or why they cannot be read."""
Right = Callable[[str, Mapping[str, Any]], bool | None]
"""Whether an answer is right to the problem with these fields, by the published rule; None if that cannot tell."""


class Benchmark(Protocol):
    """What a benchmark module has, or each of its `BENCHMARKS` (`hub_rows.HubBenchmark`, for most that are published).

    It may have a `right`, which decides in place of the rules and the algebra of `score`. A judge, if there is one,
    decides when that returns None; without a judge such an answer is wrong.

    Args:
        NAME: what the user calls it; the file is called so too.
        ABOUT: one line for help.
        HUB: id of its dataset on the hub; None if its problems are made here.
        SPLITS: the first is taken if none is asked for; () if there is only one.
    """

    NAME: str
    ABOUT: str
    HUB: str | None
    SPLITS: tuple[str, ...]

    def rows(self, folder: Path, split: str | None) -> Iterator[ProblemRow]:
        """The problems in order, one in memory at a time; a wrong one comes with its fault.

        Args:
            folder: of the dataset; image paths of the rows start there.
            split: one of `SPLITS`; None if there are none.
        """


class LocalBenchmark(msgspec.Struct, frozen=True):
    """A benchmark on this machine.

    Args:
        name: that of the benchmark, or the stem of a file.
        base: folder that image paths of its rows start from.
        published: whether it is not a file of the user, who could correct it.
        scorer: the benchmark whose published rule scores, see `rule_of`.
    """

    name: str
    base: Path
    rows: Callable[[], Iterator[ProblemRow]]
    published: bool = False
    scorer: str | None = None


def rule_of(name: str | None) -> Right | None:
    return getattr(installed(name or ""), "right", None)


def find(
    name: str,
    workspace: Path,
    split: str | None = None,
    report: Reporter | None = None,
    chosen: Mapping[str, str] = {},
    ignored: Collection[str] = (),
) -> LocalBenchmark:
    """Find the problems of a name.

    Args:
        name: a benchmark, or its dataset on the hub; the path of rows in any layout, or of a folder with them.
            A folder with the name of a benchmark is written `./NAME`.
        workspace: folder with the `data/` to search.
        split: part of a benchmark.
        report: gets which columns of a file are read.
        chosen: of a file, field -> its column.
        ignored: columns that are left out.
    """
    if not name:  # a variable of a script that was not set, as a rule
        raise UsageError("the name of the benchmark is empty", f"virc eval {names()[0]}")
    if name == "-":
        raise UsageError("a benchmark is read more than once, which standard input cannot be", "name a file")
    if benchmark := named(name):
        return _published(benchmark, _folder(benchmark, workspace), split)
    path = expanded(name)
    for benchmark in on_hub() if is_folder(path) else ():
        if _is_called(path.resolve().name, benchmark):
            return _published(benchmark, path, split)
    if is_folder(path) or is_file(path):
        return _own(path, split, report or Reporter(), chosen, ignored)
    others = f"benchmarks are {', '.join(names())}; or name a file of rows"
    if "/" in name or path.suffix:
        raise DataError(f"there is no file {plain(name)}", others)
    raise ConfigError(f"there is no benchmark {plain(name, 80)}", did_you_mean(name, names(), others))


def category_of(fields: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Which parts of a benchmark a problem belongs to: division -> parts, from the field `category` of its row.

    The field is the name of a part or a list of them, or an object that holds this for each division; numbers are
    names too, and null is none.
    """
    value = fields.get("category")
    divisions = value if isinstance(value, dict) else {"category": value}
    found = {
        _name(division): tuple(dict.fromkeys(map(_name, parts if isinstance(parts, list) else [parts])))
        for division, parts in divisions.items()
        if parts is not None
    }
    return {division: parts for division, parts in found.items() if parts}


def problems(found: Iterable[Placed], as_problem: Callable[[Fields], Fields]) -> Iterator[ProblemRow]:
    """The rows of the problems in a benchmark's files, numbered from 1.

    `as_problem` makes the fields of a batch row; a DataError or ValueError from it is the fault of that row. A field
    `prompt` is what models are asked in place of the question with its choices.
    """
    for number, (place, fields) in enumerate(found, 1):
        try:
            if isinstance(fields, DataError):
                raise fields
            made = as_problem(fields)
            row = as_row(number, made)
            row = msgspec.structs.replace(row, question=made.get("prompt", row.question))
            fault: Exception | None = row.fault
        except (DataError, ValueError) as error:
            row, fault = ProblemRow(number), error
        if fault:
            reason = clause(fault).removeprefix(f"line {number}: ")  # which says less than the place
            row = msgspec.structs.replace(row, fault=DataError(f"{place}: {reason}", getattr(fault, "hint", None)))
        yield row


def inside(folder: Path, name: str) -> str:
    """The path of an image, from the dataset's folder on; a DataError if it is missing, outside, or no image."""
    from virc.data.rows.record import Picture

    with errors_as(DataError, f"the image {plain(name, 80)} cannot be read"):
        path = Picture(name, folder).file().relative_to(folder.resolve()).as_posix()
    if path.startswith("~"):  # which would be read as a home folder
        raise DataError(f"the image {plain(name, 80)} has a name that begins with ~")
    return path


def data_url(image: bytes) -> str:
    import base64

    return f"data:application/octet-stream;base64,{base64.b64encode(image).decode()}"


def _published(benchmark: Benchmark, folder: Path, split: str | None) -> LocalBenchmark:
    if split and split not in benchmark.SPLITS:
        if not benchmark.SPLITS:
            raise UsageError(f"{benchmark.NAME} has no splits", "leave «--split» out")
        raise UsageError(f"{benchmark.NAME} has no split {plain(split, 80)}", did_you_mean(split, benchmark.SPLITS))
    first = next(iter(benchmark.SPLITS), None)
    chosen = split or first
    name = benchmark.NAME if chosen == first else f"{benchmark.NAME}-{chosen}"  # its answers have a folder of their own
    read = partial(benchmark.rows, folder, chosen)
    return LocalBenchmark(name, folder, read, published=True, scorer=benchmark.NAME)


def _folder(benchmark: Benchmark, workspace: Path) -> Path:
    """The folder of a benchmark's dataset; the workspace for one whose problems are drawn here."""
    if benchmark.HUB is None:
        return workspace
    data = workspace / DATA
    folders = sorted(each for each in data.iterdir() if each.is_dir()) if is_folder(data) else []
    found = next((folder for folder in folders if _is_called(folder.name, benchmark)), None)
    if found is None:
        hint = f"virc download eval {benchmark.NAME}"
        raise ConfigError(f"the benchmark {benchmark.NAME} is not on this machine", hint)
    return found


def _is_called(folder: str, benchmark: Benchmark) -> bool:
    own = (benchmark.NAME, (benchmark.HUB or "").rpartition("/")[2])
    return _letters(folder) in {_letters(name) for name in own}


def _letters(name: str) -> str:
    return re.sub(r"[-_ ]", "", name).lower()


def _only_problems(folder: Path) -> Path:
    """The file of problems in a folder: `problems.jsonl`, or the only JSONL file; else the folder itself."""
    from virc.data.formats.registry import HELD_OUT, only_source

    files = sorted(folder.glob("*.jsonl"), key=lambda file: (not HELD_OUT.search(file.stem), file))
    if folder / PROBLEMS not in files and len(files) != 1:
        with suppress(DataError):
            only_source(folder)
            return folder
        there = f", and {len(files)} other JSONL files" if files else " and no other JSONL file"
        hint = f"name one of them: {shlex.quote(str(files[0]))}" if files else "name a file of questions and answers"
        raise DataError(f"{folder} is no benchmark: it holds no {PROBLEMS}{there}", hint)
    return folder / PROBLEMS if folder / PROBLEMS in files else files[0]


def _own(
    path: Path, split: str | None, report: Reporter, chosen: Mapping[str, str], ignored: Collection[str]
) -> LocalBenchmark:
    """The problems of a file or folder, which is read as `virc batch` reads it, or by the layout that reads more."""
    if split:
        raise UsageError("a file has no splits", "leave «--split» out")
    file = _only_problems(path) if is_folder(path) else path
    opening = partial(open_problems, file, chosen=chosen, ignored=ignored)
    with opening(report) as opened:
        base = opened.base
        _check_problems(file, opened.rows, ignored)
    named = file.stem if file == path else path.resolve().name
    printable = "".join(character if character.isprintable() else "_" for character in named)
    return LocalBenchmark(printable.strip(". ") or "problems", base, partial(_problems_in, opening))


def _check_problems(file: Path, rows: Iterable[ProblemRow], ignored: Collection[str]) -> None:
    """Raise DataError where rows are wrong, or have columns that nothing reads."""
    from virc.data.formats import batch
    from virc.data.formats.registry import RowsFile

    source = RowsFile(file, batch.NAME, file.stem, ignore=tuple(ignored))
    for index, problem in enumerate(rows):
        row = batch.numbered(source, problem)
        if row.fault:  # as before training
            raise DataError(
                f"{file}, {row.fault.message}", row.fault.hint or f"virc data check {shlex.quote(str(file))}"
            )
        if index < _MAX_LOOKED_AT and row.lost:
            raise DataError(f"{file}, {row.lost.message}", row.rewriting or f"{ignoring(row.unread)} leaves it out")


def _problems_in(opening: Callable[[Reporter], AbstractContextManager[RowFile]]) -> Iterator[ProblemRow]:
    with opening(Reporter()) as opened:
        yield from opened.rows


def _name(value: object) -> str:
    text = str(value).strip() if type(value) in (str, int) else ""
    if not text or len(text) > _MAX_NAME or not text.isprintable():
        hint = f"a category is a name of at most {_MAX_NAME} characters, a list or an object of names"
        raise DataError(f"category holds {plain(value, 40) or 'an empty name'}, which is no name", hint)
    return text
