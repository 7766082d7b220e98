"""Formats of rows on disk, one file each; to add a format, add a file here.

A format module has:
    NAME: str                 what the user calls it (`--format NAME`)
    SUMMARY: str              one line for help
    HOLDS: Holds              what its rows are: "solutions" (conversations up to the answer), "pairs" (a conversation
                              up to a reply, of which there is a better and a worse one), "prompts" (where a model
                              goes on) or "problems" (no conversation)
    LOST: str                 what a record loses when it is written in this format and read again; "" for nothing
    recognises(path: Path) -> bool
                              whether a file is of this format, from its name and its beginning; never raises
    read(source: Source, start: int = 1) -> Iterator[Row]
                              rows in order, one at a time, in bounded memory; a wrong row has its fault; rows before
                              the number `start` are skipped without being decoded
    write(folder: Path, name: str, records: Iterable[Record], settings: Writing) -> int
                              the files of a dataset `name` in an existing folder; returns the rows written
"""

import json
import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import msgspec

from virc.core import discovery
from virc.core.errors import DataError, UsageError
from virc.core.files import contents, is_file
from virc.core.text import clause, did_you_mean, plain
from virc.data.rows import saved, shards
from virc.data.rows.pictures import PictureStore
from virc.data.rows.record import Record
from virc.reasoning.grammar import TAGS, Grammar
from virc.reasoning.protocol import FILE_NAME, Protocol
from virc.systems.layouts.layout import Layout
from virc.systems.registry import System

Holds = Literal["solutions", "pairs", "prompts", "problems"]
INFO = "dataset_info.json"
PUBLISHED = "published"
"""The format of rows that others published, which a layout describes."""
MOST_INFO_BYTES = 16 * 2**20
_MOST_NAMED = 3
_GZIP = b"\x1f\x8b"
HUB = "data"
"""The folder of a dataset's repository that has its parquet files."""


class LaidOut(msgspec.Struct, frozen=True):
    """The layout of published rows, and the chat protocol of the system that published them, if one was named."""

    name: str
    layout: Layout
    protocol: Protocol | None = None

    @property
    def holds(self) -> Holds:
        """What its rows are."""
        if self.layout.chosen is not None:
            return "pairs"
        solved = self.layout.messages is not None or (self.protocol and self.layout.reply is not None)
        return "solutions" if solved else "problems"

    @property
    def written_as(self) -> str:
        """The format that holds such rows once they are converted."""
        return {"solutions": "sft", "pairs": "pairs"}.get(self.holds, "batch")


class Source(msgspec.Struct, frozen=True):
    """One file of rows.

    Args:
        format: name of its format.
        name: of the dataset: its key in `dataset_info.json`, else the file's stem.
        info: its entry in `dataset_info.json` (`formatting`, `columns`, `tags`); empty where there is none.
        laid_out: how its rows are laid out, where others published them; `file` may then be a folder.
        shards: the files that it is in, where it is in several, of which `file` is the first.
    """

    file: Path
    format: str
    name: str
    info: dict[str, Any] = {}
    laid_out: LaidOut | None = None
    shards: tuple[Path, ...] = ()

    @property
    def holds(self) -> Holds:
        """What its rows are."""
        return self.laid_out.holds if self.laid_out else get(self.format).HOLDS

    @property
    def media(self) -> Path:
        """The folder that image names of its rows start from."""
        return self.file if self.laid_out and self.file.is_dir() else self.file.parent


class Row(msgspec.Struct, frozen=True):
    """One row: its number in the file, from 1, and its record or why it has none.

    `flaws` are what an engine would stop at in a row whose record is known all the same; `ignored` are keys of its
    messages that neither engines nor the record have.
    """

    number: int
    record: Record | None = None
    fault: DataError | None = None
    flaws: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()

    def known(self) -> Record:
        """The record. Raises DataError: there is none."""
        if self.record is None:
            raise self.fault or DataError(f"row {self.number} cannot be read")
        return self.record


class Writing(msgspec.Struct, frozen=True):
    """How a format is written.

    Args:
        pictures: where images go; gives each its name in the rows.
        embed: put the images' bytes into the rows, as the published RL files do.
        grammar: how replies in the rows are written.
        number: the number that the row to be written has where it is from, for its new id; None: it is not known.
    """

    pictures: PictureStore
    embed: bool = False
    grammar: Grammar = TAGS
    number: Callable[[], int] | None = None


def names() -> list[str]:
    """The formats there are."""
    return discovery.names("virc.data.formats")


def get(name: str) -> ModuleType:
    """The format of that name. Raises UsageError: there is none."""
    if name not in names():
        hint = did_you_mean(name, names(), f"formats are {', '.join(names())}")
        raise UsageError(f"there is no format {name}", hint)
    return discovery.module("virc.data.formats", name)


def file_for(folder: Path, name: str, ending: str) -> Path:
    """The file of the rows of dataset `name`; UsageError where some system does not take that as a file name."""
    if not re.fullmatch(r"(?![. ])[^\x00-\x1f\x7f/\\:*?\"<>|\ud800-\udfff]{1,100}", name):
        raise UsageError(f"{name!r} cannot name a dataset", "use letters, digits, - and _")
    return folder / f"{name}{ending}"


def sources(path: Path, system: System | None = None) -> list[Source]:
    """The files of rows at a path: the file itself; of a folder those its `dataset_info.json` names, and its parquet
    and JSONL files. Named files that are missing are left out: one may have downloaded a part of a dataset.

    Args:
        system: whose published rows they may be; its layouts come before the formats.

    Raises:
        DataError: there is nothing there, or no format recognises it.
    """
    if path.is_dir():
        if saved.is_saved(path):
            return [_saved(path, system)]
        found = _in_folder(path, system) or (_in_folder(path / HUB, system) if (path / HUB).is_dir() else [])
        if not found:
            raise DataError(f"{path} holds no rows", f"name a file, or a folder with {INFO} or parquet files")
        return found
    if not path.is_file():
        raise DataError(f"there is no file {path}")
    for name, entry in read_info(path.parent).items():
        if entry.get("file_name") == path.name:
            return [_source(path, name, entry, system)]
    return [_source(path, path.stem, {}, system)]


def left_out(path: Path) -> list[str]:
    """The files that `dataset_info.json` in a folder names and that are missing, while others are there."""
    named = dict.fromkeys(file for _, _, file in _named(path)) if path.is_dir() else ()
    gone = [file for file in named if not is_file(path / file)]
    if gone:
        sources(path)
    return gone


def left_out_note(path: Path) -> str | None:
    """`left_out` and `_unrecognised`, a line each, to print; None for neither. Raises DataError as `sources` does."""
    lines = []
    if gone := left_out(path):
        files = f"{len(gone)} files that are" if len(gone) > 1 else "a file that is"
        lines.append(f"{path / INFO} names {files} not there: {_listed(gone)}")
    if others := _unrecognised(path):
        lines.append(f"{path} has files that no format recognises, which are left out: {_listed(others)}")
    lines += shards.missing(path) + shards.missing(path / HUB)
    return "\n".join(lines) or None


def _unrecognised(path: Path) -> list[str]:
    """The files of a folder that may hold rows by their names, and that no format recognises."""
    named = {file for _, _, file in _named(path)} if path.is_dir() else set()
    files = sorted(path.iterdir()) if path.is_dir() else ()
    return [file.name for file in files if _may_hold_rows(file) and file.name not in named and not recognised(file)]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_MOST_NAMED]) + ", …" * (len(names) > _MOST_NAMED)


def only_source(path: Path, system: System | None = None) -> Source:
    """The one file of rows at a path, as `sources` has it. Raises DataError: as that does; a folder has several."""
    found = sources(path, system)
    if len(found) > 1:
        files = ", ".join(source.file.name for source in found[:8]) + ", …" * (len(found) > 8)
        raise DataError(f"{path} has {len(found)} files of rows: {files}", "name one of them")
    return found[0]


def read_info(folder: Path) -> dict[str, dict[str, Any]]:
    """Entries of a folder's `dataset_info.json` by dataset name, if it has one. Raises DataError: it is malformed."""
    try:
        text = contents(folder / INFO, MOST_INFO_BYTES)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise DataError(f"{folder / INFO} cannot be read: {clause(error)}") from None
    return parsed_info(text, str(folder / INFO))


def parsed_info(text: bytes, place: str) -> dict[str, dict[str, Any]]:
    """Entries of a `dataset_info.json`; `place` names it in errors. Raises DataError: it is no object of objects."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{place} cannot be read: {clause(error)}") from None
    if not isinstance(content, dict) or not all(isinstance(entry, dict) for entry in content.values()):
        raise DataError(f"{place} is not an object with one object per dataset")
    return content


def recognised(file: Path) -> str | None:
    """The format of a file, by its name and beginning: the first by name that recognises it; None where none does."""
    return next((name for name in names() if get(name).recognises(file)), None)


def _in_folder(folder: Path, system: System | None) -> list[Source]:
    found, gone = [], None
    for name, entry, file in _named(folder):
        named = f"{folder / INFO} names {plain(file, 80)} for {plain(name, 80)}"
        if not is_file(folder / file):
            gone = gone or f"{named}, which is not there"
            continue
        if not (folder / file).resolve().is_relative_to(folder.resolve()):
            raise DataError(f"{named}, which is outside the folder", "name the file itself")
        found.append(_source(folder / file, name, entry, system))
    listed = {source.file for source in found}
    for other in sorted(folder.iterdir()):
        known = _may_hold_rows(other, system) and other not in listed
        if known and (source := _recognised(other, other.stem, {}, system)):  # others are logs and the like
            if source.laid_out and (files := shards.of(other)):
                source = msgspec.structs.replace(source, name=shards.name(other), shards=files)
                listed.update(files)
            found.append(source)
    if gone and not found:
        raise DataError(gone)
    return found


def _saved(folder: Path, system: System | None) -> Source:
    """The source that a folder of `datasets.save_to_disk` is. Raises DataError: it has several splits, or no layout."""
    published = get(PUBLISHED)
    splits = saved.splits(folder)
    if len(splits) > 1:
        raise DataError(f"{folder} has the splits {', '.join(splits)}", f"name one of them: {folder / splits[0]}")
    place = folder / splits[0] if splits else folder
    laid_out = published.of_system(place, system) or published.shared(place, system)
    if laid_out is None:
        raise _unknown(place, system)
    return Source(place, PUBLISHED, folder.name, {}, laid_out)


def _may_hold_rows(file: Path, system: System | None = None) -> bool:
    endings = (".parquet", ".jsonl", ".json") if system and system.rows else (".parquet", ".jsonl")
    return file.suffix in endings and file.name not in (INFO, FILE_NAME) and file.is_file()


def _named(folder: Path) -> Iterator[tuple[str, dict[str, Any], str]]:
    """The datasets that the `dataset_info.json` of a folder names, with their entries and files."""
    if saved.is_saved(folder):  # whose file of that name says something else
        return
    for name, entry in read_info(folder).items():
        file = entry.get("file_name")
        if isinstance(file, str):  # else it is a dataset on a hub
            yield name, entry, file


def _unknown(file: Path, system: System | None) -> DataError:
    """The error for a file that no format recognises."""
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
    fault: DataError | None = get(PUBLISHED).unread(file)
    if fault:
        return fault
    columns = get(PUBLISHED).columns_of(file)
    if not columns:
        return DataError(f"{file} is of no known format", hint)
    layouts = ", ".join(each.name for each in get(PUBLISHED).layouts(system))
    return DataError(f"{file} is of no known format: its columns are {columns}", f"{hint}; layouts are {layouts}")


def _source(file: Path, name: str, info: dict[str, Any], system: System | None) -> Source:
    source = _recognised(file, name, info, system)
    if source is None:
        raise _unknown(file, system)
    return source


def _recognised(file: Path, name: str, info: dict[str, Any], system: System | None) -> Source | None:
    """The source that a file is: in a layout of the system, unless `dataset_info.json` names it; else of a format.

    A layout with two pairs in a row counts before `dataset_info.json`, which cannot say them.
    """
    own = get(PUBLISHED).of_system(file, system)
    if info and not (own and own.layout.second):
        own = None
    format_name = PUBLISHED if own else recognised(file)
    if format_name is None:
        return None
    laid_out = own or (get(PUBLISHED).shared(file, system) if format_name == PUBLISHED else None)
    return Source(file, format_name, name, info, laid_out)
