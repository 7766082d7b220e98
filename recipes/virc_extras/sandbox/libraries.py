"""What code in the sandbox needs of this machine: packages with what they require, and shared libraries.

Which libraries programs and extension modules need is read from their ELF files.
"""

import os
import re
import struct
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import BinaryIO

_LOAD, _DYNAMIC, _LOADER = 1, 2, 3  # p_type of <elf.h>
_NEEDED, _STRINGS, _STRINGS_SIZE = 1, 5, 10  # d_tag
_MAX_TABLE = 2**24  # bytes of a table that is read
_LOADED_LATER = ("libgcc_s.so.1",)  # glibc loads it where a thread is cancelled
_REQUIRED = re.compile(r"[A-Za-z0-9][\w.-]*")


@cache
def installed(names: tuple[str, ...]) -> tuple[Path, ...]:
    """The files and folders of distributions and of all that they require; what is not installed is left out."""
    wanted, known = list(names), set[str]()
    found: dict[Path, None] = {}
    for name in wanted:
        if (usual := re.sub(r"[-_.]+", "-", name).lower()) in known:
            continue
        known.add(usual)
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
        found |= dict.fromkeys(_top(distribution))
        wanted += _required(distribution.requires or ())
    return tuple(found)


def _required(lines: Iterable[str]) -> list[str]:
    plain = (line for line in lines if not re.search(r"\bextra\s*==", line))
    return [match[0] for line in plain if (match := _REQUIRED.match(line))]


def _top(distribution: metadata.Distribution) -> list[Path]:
    # a path may also be absolute, as of a manual page; its first part is the root folder of this machine
    own = (file.parts for file in distribution.files or () if not file.is_absolute())
    parts = dict.fromkeys(each[0] for each in own if each)
    names = (part for part in parts if part not in ("..", "__pycache__") and not part.endswith((".dist-info", ".pth")))
    return [path for name in names if (path := Path(str(distribution.locate_file(name)))).exists()]


def needed(files: Iterable[Path], folders: Iterable[Path]) -> Mapping[str, Path]:
    """The libraries that files need, and those that these need in turn: name -> path. Missing ones are left out."""
    places = tuple(folders)
    names = {*_LOADED_LATER, *(name for file in files for name in header(file)[0])}
    found: dict[str, Path] = {}
    while names:
        name = names.pop()
        path = next((place / name for place in places if (place / name).is_file()), None)
        if path and name not in found and "/" not in name:
            found[name] = path
            names.update(header(path)[0])
    return found


def header(path: Path) -> tuple[tuple[str, ...], str | None]:
    """The names of the libraries that a 64-bit ELF file needs, and the path of its dynamic loader.

    Of a file of another kind, or one that is broken, `((), None)`. A library names no loader.
    """
    try:
        with path.open("rb") as file:
            head = file.read(64)
            if len(head) < 64 or head[:5] != b"\x7fELF\x02":
                return (), None
            return _read(file, head, "<" if head[5] == 1 else ">")
    except (OSError, struct.error, ValueError, StopIteration):
        return (), None


def _read(file: BinaryIO, head: bytes, order: str) -> tuple[tuple[str, ...], str | None]:
    (start,) = struct.unpack_from(f"{order}Q", head, 32)
    size, count = struct.unpack_from(f"{order}HH", head, 54)
    table = _at(file, start, size * count)
    parts = [struct.unpack_from(f"{order}IIQQQQ", table, each * size) for each in range(count)]
    names: tuple[str, ...] = ()
    loader = None
    for kind, _, offset, _, _, length in parts:
        if kind == _LOADER:
            loader = os.fsdecode(_at(file, offset, length).rstrip(b"\0"))
        elif kind == _DYNAMIC:
            content = _at(file, offset, length)
            entries = list(struct.iter_unpack(f"{order}QQ", content[: len(content) // 16 * 16]))
            tags = dict(entries)
            at = tags.get(_STRINGS, 0)  # an address, which one of the parts that are loaded has in the file
            where = next(o + at - v for kind, _, o, v, _, n in parts if kind == _LOAD and v <= at < v + n)
            text = _at(file, where, tags.get(_STRINGS_SIZE, 0))
            starts = (value for tag, value in entries if tag == _NEEDED)
            names = tuple(os.fsdecode(text[each : text.index(b"\0", each)]) for each in starts)
    return names, loader


def _at(file: BinaryIO, offset: int, length: int) -> bytes:
    if length > _MAX_TABLE:
        raise ValueError
    file.seek(offset)
    return file.read(length)
