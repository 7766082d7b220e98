"""The dataset that sampling writes: it grows by whole problems and survives being killed.

NAME.progress        the source of all, a `Ledger`: one line per problem, with its pass rate and the rows kept of it
NAME.images/         the images of the rows, each once, named by content; written before a line that names them
NAME.jsonl           the rows in order of the problems, made from NAME.progress whenever a run ends
dataset_info.json    its entry, next to those of other datasets
virc_protocol.json   the chat protocol of the rows, written before the first of them

Other datasets of the folder share the last two, so they are made only for a row that is kept, and never deleted.
"""

import os
import re
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import msgspec

from virc.core.errors import ConfigError, UsageError
from virc.core.files import writing
from virc.core.locks import held
from virc.core.result_log import Ledger
from virc.core.text import clause
from virc.data.formats import pairs, sft
from virc.data.formats.registry import file_for, read_info
from virc.data.formats.sft import write_info
from virc.data.rows.llamafactory import INFO
from virc.models.chat_protocol import read_protocol, written
from virc.reasoning.images import Shown
from virc.reasoning.protocol import FILE_NAME, Protocol

SCHEMA = "virc.sampled/1"
_CHOOSE = "choose another path with «--to»"
_IMAGE = re.compile(r"[0-9a-f]{32}\.png|\.[0-9a-f]{32}\.png\.\d+")


class Location(msgspec.Struct, frozen=True):
    folder: Path
    name: str
    paired: bool = False

    @property
    def file(self) -> Path:
        return self.folder / f"{self.name}.jsonl"

    @property
    def progress(self) -> Path:
        """What is done; not .jsonl, since every such file in a folder of data is read as rows."""
        return self.folder / f"{self.name}.progress"

    @property
    def images(self) -> Path:
        return self.folder / f"{self.name}.images"


class Totals(msgspec.Struct):
    """The totals of all problems of a dataset, in this run and those before.

    Args:
        without: problems without a right rollout.
        fewer: problems with fewer kept trajectories than `keep`.
        dropped: reason -> rollouts that were not kept; reasons are those of `ended`, `repeated` and `more`.
        unpaired: if pairs are kept, problems without one.
        left_out: if pairs are kept, reason -> pairs and rollouts that were left out.
    """

    problems: int = 0
    rollouts: int = 0
    right: int = 0
    kept: int = 0
    without: int = 0
    fewer: int = 0
    failed: int = 0
    dropped: dict[str, int] = {}
    unpaired: int = 0
    left_out: dict[str, int] = {}

    @property
    def pass_rate(self) -> float | None:
        return self.right / self.rollouts if self.rollouts else None


class _Line(msgspec.Struct):
    line: int = 0
    rollouts: int = 0
    right: int = 0
    ended: dict[str, int] = {}
    repeated: int = 0
    kept: list[msgspec.Raw] = []
    left_out: dict[str, int] | None = None
    error: Any = None


class _MadeWith(msgspec.Struct):
    model: str | None = None
    settings: dict[str, Any] | None = None


def location_of(to: Path, paired: bool = False) -> Location:
    if to.suffix in (".json", ".parquet"):
        raise UsageError(f"rows go to a folder or a .jsonl file, not to {to.name}", "«--to traj.jsonl»")
    usual = pairs.NAME if paired else "trajectories"
    location = Location(to.parent, to.stem, paired) if to.suffix == ".jsonl" else Location(to, usual, paired)
    file_for(location.folder, location.name, ".jsonl")
    if location.folder.exists() and not location.folder.is_dir():
        raise UsageError(f"{location.folder} is no folder", _CHOOSE)
    for path in (location.file, location.images):
        if path.exists() and not location.progress.exists():
            raise UsageError(f"{path} is in use", _CHOOSE)
    entry = read_info(location.folder).get(location.name, {})
    if entry.get("file_name", location.file.name) != location.file.name:
        raise UsageError(f"{location.folder / INFO} has another dataset {location.name}", _CHOOSE)
    return location


@contextmanager
def begun(location: Location, protocol: Protocol, settings: Mapping[str, object]) -> Iterator[Ledger]:
    _is_beside(location, protocol)
    made = not location.folder.exists()
    with Ledger(location.progress, SCHEMA, settings, ()) as ledger:
        yield ledger
    if made:
        with suppress(OSError):  # something is in it
            location.folder.rmdir()


def put_protocol(location: Location, protocol: Protocol) -> None:
    if not _is_beside(location, protocol):
        with _replaced(location.folder / FILE_NAME) as file:
            file.write(written(protocol))


def _is_beside(location: Location, protocol: Protocol) -> bool:
    file = location.folder / FILE_NAME
    there = file.is_file()
    if there and _unnamed(read_protocol(file)) != _unnamed(protocol):
        raise ConfigError(f"{file} is another chat protocol than that of the rows to be made", _CHOOSE)
    return there


def store(location: Location, shown: Shown) -> str:
    path = location.images / f"{shown.digest.hex()[:32]}.png"
    with writing(path):
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            with _replaced(path, f".{threading.get_ident()}") as file:  # several problems may show the same
                file.write(shown.png)
    return f"{path.parent.name}/{path.name}"


def publish(location: Location, finished: bool, keep: int) -> Totals:
    """Make the file of rows and its entry from the ledger, which is locked.

    Without a row there is neither. Once `finished`, no row is being sampled: images that no line names are from killed
    runs, and are deleted. So is the ledger without a row, where no problem is left to be taken up again.
    """
    totals, named = Totals(), set[str]()
    with location.progress.open("rb") as lines:
        if offsets := _in_order(lines, totals, keep):
            with _replaced(location.file) as out:
                for offset in offsets:
                    lines.seek(offset)
                    for row in msgspec.json.decode(lines.readline(), type=_Line).kept:
                        out.write(bytes(row) + b"\n")
                        named.update(name.rpartition("/")[2] for name in msgspec.json.decode(row)["images"])
    if totals.kept or location.file.exists():  # if it is there without a row, the user took lines out of the ledger
        _enter(location, bool(totals.kept))
    if finished and location.images.is_dir():
        for path in location.images.iterdir():
            if path.name not in named and _IMAGE.fullmatch(path.name):
                path.unlink()
    if finished and not totals.kept and not totals.failed:
        with suppress(OSError):  # it is not there, or other files are in it
            location.images.rmdir()
        location.progress.unlink()
    return totals


def so_far(location: Location) -> Totals:
    totals = Totals()
    with _as_ledger(location) as lines:
        _in_order((line for line in lines if line.endswith(b"\n")), totals, 1)
    return totals


def settings_of(location: Location) -> dict[str, Any]:
    with _as_ledger(location) as lines:
        first = next(iter(lines), b"")
        line = msgspec.json.decode(first, type=_MadeWith) if first.endswith(b"\n") else _MadeWith()
    return {"model": line.model, **(line.settings or {})} if line.model else {}


@contextmanager
def _as_ledger(location: Location) -> Iterator[Iterable[bytes]]:
    if not location.progress.exists():
        yield ()
        return
    try:
        with location.progress.open("rb") as lines:
            yield lines
    except (msgspec.MsgspecError, OSError) as error:
        raise ConfigError(f"{location.progress} cannot be read: {clause(error)}", _CHOOSE) from error


def _enter(location: Location, kept: bool) -> None:
    with held(location.folder / INFO):
        known = read_info(location.folder)
        if kept:
            known[location.name] = (pairs if location.paired else sft).info(location.file.name)
        else:
            known.pop(location.name, None)
        write_info(location.folder, known)
    if not kept:
        location.file.unlink()


def _in_order(lines: Iterable[bytes], totals: Totals, keep: int) -> list[int]:
    """Offsets of the lines with rows, in the order of the file of problems; all lines are counted."""
    found: list[tuple[int, int]] = []
    dropped: Counter[str] = Counter()
    left_out: Counter[str] = Counter()
    offset = 0
    for text in lines:
        line = msgspec.json.decode(text, type=_Line)
        totals.failed += line.error is not None
        totals.problems += line.error is None
        totals.without += line.error is None and not line.right
        totals.rollouts += line.rollouts
        totals.right += line.right
        totals.kept += len(line.kept)
        totals.fewer += line.error is None and len(line.kept) < keep
        if line.left_out is not None:
            left_out.update(line.left_out)
            totals.unpaired += not line.kept
        else:
            dropped.update({kind: count for kind, count in line.ended.items() if kind != "right"})
            dropped.update({"repeated": line.repeated, "more": line.right - line.repeated - len(line.kept)})
        if line.kept:
            found.append((line.line, offset))
        offset += len(text)
    totals.dropped = {kind: count for kind, count in dropped.most_common() if count}
    totals.left_out = dict(left_out.most_common())
    return [offset for _, offset in sorted(found)]


def _unnamed(protocol: Protocol) -> Protocol:
    return msgspec.structs.replace(protocol, name="")


@contextmanager
def _replaced(path: Path, mark: str = ".new") -> Iterator[IO[bytes]]:
    new = path.with_name(f".{path.name}{mark}")
    with new.open("wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
