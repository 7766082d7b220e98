"""Whether what a run was begun with is as it was: rows, images, weights, chat protocol, copies of tools and rewards.

`inputs.json` of a run has size, time and digest of each file: of rows and code that of all bytes, of large pictures and
weights that of 16 blocks. A later check compares size and time, and reads only a file whose time alone differs. For
200,000 pictures a run begins about a minute later, `inputs.json` takes 26 MB and a check 2 s (20,000 pictures of 100 KB
on a busy core and a local disk took 5.6 s and 0.2 s); a disk of the network takes several times as long.
"""

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path

import msgspec

from virc.core.errors import ConfigError
from virc.core.files import contents, is_file, write_json
from virc.data.formats.registry import only_source
from virc.reasoning.protocol import FILE_NAME
from virc.rewards import user_code
from virc.runs.run import Info, Run

FILE = "inputs.json"
SOURCE = "original rows"
"""The user's own file of which the run has a copy, with which it goes on if that file is gone."""
OF_ROWS = ("rows", SOURCE, "images")
_MAX_BYTES = 2**30
_BLOCKS = 16
_BLOCK = {"rows": None, SOURCE: None, "code": None, "chat protocol": None, "images": 2**11, "base": 2**16}
"""Bytes of a block, of which so many are read of a file; None: all of it is."""
_OF_A_MODEL = frozenset({".jinja", ".json", ".safetensors", ".bin", ".model", ".txt"})
_NAMED = 3  # files of an error


class SeenFile(msgspec.Struct, frozen=True, array_like=True):
    """A file: what it is of, and its size in bytes, time in nanoseconds, and digest."""

    what: str
    size: int
    time: int
    digest: str


def write_digests(run: Run, info: Info, folder: Path, sources: Iterable[Path]) -> None:
    found: dict[str, SeenFile] = {}
    for what, file in chain(_files(info, run.folder, folder), ((SOURCE, each.absolute()) for each in sources)):
        with suppress(OSError):
            state = file.stat()
            # a picture has its path without links, and `runs/` may be one
            inside = next((each for each in (folder, folder.resolve()) if file.is_relative_to(each)), None)
            place = run.folder / file.relative_to(inside) if inside else file
            if str(place) in found:  # rows that are trained on as they are
                continue
            found[str(place)] = SeenFile(what, state.st_size, state.st_mtime_ns, _digest(file, what))
    write_json(folder / FILE, found)


def changed_files(run: Run) -> Iterator[tuple[str, Path]]:
    """What has changed or gone since the run was begun, or its rows were checked again: what it is of, and the file."""
    text = contents(run.folder / FILE, _MAX_BYTES) if is_file(run.folder / FILE) else b"{}"  # of an older version
    for name, seen in msgspec.json.decode(text, type=dict[str, SeenFile]).items():
        file = Path(name)
        try:
            state = file.stat()
            same = state.st_size == seen.size
            if not same or (state.st_mtime_ns != seen.time and _digest(file, seen.what) != seen.digest):
                yield seen.what, file
        except OSError:
            if seen.what != SOURCE:
                yield seen.what, file


def check_unchanged(run: Run, accepted: tuple[str, ...] = ()) -> None:
    """Raises ConfigError: something has changed or is gone that is not `accepted`."""
    found = [(what, file) for what, file in changed_files(run) if what not in accepted]
    if not found:
        return
    gone = {file for _, file in found if not is_file(file)}
    named = ", ".join(f"{file} ({what}{', gone' * (file in gone)})" for what, file in found[:_NAMED])
    more = f" and {len(found) - _NAMED:,} more" * (len(found) > _NAMED)
    hint = "put back what was there, or begin another run"
    if {what for what, _ in found} <= {*OF_ROWS}:
        back = "put back what is gone; or, without its rows, " if gone else ""
        hint = f"{back}virc train --resume --name {run.name} --rows-changed checks them again and goes on with them"
    raise ConfigError(f"since {run.name} was begun these files have changed: {named}{more}", hint)


def _images(file: Path) -> Iterator[Path]:
    """The images of the rows of a file, each once: an engine needs minutes to miss one."""
    source, seen = only_source(file), set[str]()
    for row in source.rows():
        for picture in row.record.images if row.record else ():
            if picture.data is None and picture.name not in seen:
                seen.add(picture.name)
                with suppress(OSError):
                    yield msgspec.structs.replace(picture, confined=False).path()


def _files(info: Info, home: Path, folder: Path) -> Iterator[tuple[str, Path]]:
    named = [Path(file) for file in (info.data, info.validation) if file]
    rows = [folder / each.relative_to(home) if each.is_relative_to(home) else each for each in named]
    yield from (("rows", each) for each in rows)
    yield from (("images", image) for each in rows for image in _images(each))
    models = (each for each in map(Path, filter(None, (info.base, info.adapter))) if each.is_dir())
    yield from (("base", file) for each in models for file in sorted(each.iterdir()) if file.suffix in _OF_A_MODEL)
    yield from (("code", file) for file in user_code.copies(folder))
    yield "chat protocol", folder / FILE_NAME


def _digest(file: Path, what: str) -> str:
    found, block = hashlib.blake2b(digest_size=12), _BLOCK[what]
    size = file.stat().st_size
    with file.open("rb", buffering=0) as opened:
        if block is None or size <= _BLOCKS * block:
            return hashlib.file_digest(opened, lambda: found).hexdigest()
        for number in range(_BLOCKS):
            opened.seek(number * (size - block) // (_BLOCKS - 1))
            found.update(opened.read(block))
    return found.hexdigest()
