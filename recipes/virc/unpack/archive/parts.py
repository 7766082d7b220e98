"""Names of archives, and of the parts that one was split into."""

import re
import tarfile
from collections.abc import Iterable, Mapping
from itertools import count
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from virc.core.errors import DataError
from virc.core.files import is_file

_ENDINGS = r"\.(?:tar\.lz4|tar\.gz|tgz|tar|zip)"
_NUMBERED = re.compile(rf"(?is)(.*{_ENDINGS}[._-]?(?:part)?[._-]?)([0-9]{{1,5}}|[a-c][a-z])")
_OF = re.compile(rf"(?is)(.*-)([0-9]{{3,6}})(-of-[0-9]{{3,6}}{_ENDINGS})")
_WHOLE = re.compile(rf"(?is).*{_ENDINGS}")
_OTHER = re.compile(r"(?is).*\.(?:tar\.(?:bz2|xz|zst)|tbz2?|txz|tzst|rar|7z|7z\.001)")
_MAX_END = 22 + 0xFFFF  # bytes of the end of a zip archive's directory, with a comment
_VOLUME = re.compile(r"(?s)(.*\.z)([0-9]{2,5})")
_SHARD = re.compile(r"(?is).*[0-9]{2,}\.tar")


class ArchivePart(NamedTuple):
    """Its number, of the archive that has these words before and behind the number."""

    before: str
    behind: str
    number: int


def part_of(name: str) -> ArchivePart | None:
    """Which part of an archive a file is by its name, or None: `x.tar.part_00`, `x.z01`, `x-00001-of-00004.tar`."""
    if match := _VOLUME.fullmatch(name):
        return ArchivePart(match[1], "", int(match[2]))
    if match := _OF.fullmatch(name):
        return ArchivePart(match[1], match[3], int(match[2]))
    if (match := _NUMBERED.fullmatch(name)) is None or name.lower().endswith(".bz"):
        return None
    tail = match[2].lower()
    number = int(tail) if tail.isdecimal() else 26 * (ord(tail[0]) - ord("a")) + ord(tail[1]) - ord("a")
    return ArchivePart(match[1], "", number)


def is_archive(name: str) -> bool:
    return bool(_WHOLE.fullmatch(name) or part_of(name))


def all_parts(names: Iterable[str]) -> Mapping[str, tuple[str, ...]]:
    """The names of all parts of the archive that each of these is or is a part of, in order; none where one lacks."""
    found: dict[str, tuple[str, ...]] = {}
    split: dict[tuple[str, str], list[tuple[int, str]]] = {}
    for name in names:
        if part := part_of(name):
            split.setdefault(part[:2], []).append((part.number, name))
        else:
            found[name] = (name,)
    for (before, behind), numbered in split.items():
        numbers, parts = zip(*sorted(numbered), strict=True)
        begin = 0 if numbers[0] == 0 else 1
        last = re.search(r"-of-([0-9]+)", behind)
        is_whole = [*numbers] == [*range(begin, begin + len(parts))] and (not last or len(parts) >= int(last[1]))
        if before.endswith(".z"):  # the last of these has no number
            is_whole, parts = is_whole and begin == 1 and f"{before}ip" in found, (*parts, f"{before}ip")
        found |= dict.fromkeys(parts, parts if is_whole else ())
    return found


def is_packed(name: str) -> bool:
    """Whether a file is an archive by its name, or a part of one; also one that other programs unpack."""
    return is_archive(name) or bool(_OTHER.fullmatch(name))


def split_zip(file: Path) -> Path | None:
    """The last part of the archive of `zip -s` that a file is a part of: `x.z01`, `x.z02`, `x.zip`."""
    last = file.with_suffix(".zip")
    if not re.fullmatch(r"(?i)\.z(?:[0-9]{2,}|ip)", file.suffix) or not (
        is_file(file.with_suffix(".z01")) and is_file(last)
    ):
        return None
    with last.open("rb") as opened:
        opened.seek(max(0, last.stat().st_size - _MAX_END))
        end = opened.read()
    at = end.rfind(b"PK\5\6")
    is_alone = at >= 0 and end[at + 4 : at + 6] == b"\0\0"  # the number of the volume that it is, from 0
    return None if is_alone else last


def volumes(file: Path) -> list[Path]:
    """All parts, in order, of the archive of `zip -s` that a file is a part of; none if it is no such part.

    Raises DataError: one between them is missing.
    """
    last = split_zip(file)
    if last is None:
        return []
    names = [each.name for each in last.parent.iterdir() if each.stem == last.stem]
    if parts := all_parts(names)[last.name]:
        return [last.with_name(name) for name in parts]
    lacking = next(name for at in count(1) if (name := f"{last.stem}.z{at:02}") not in names)
    raise DataError(f"{last.with_name(lacking)} is missing, a part of {last}", "give all parts")


def is_shard(file: Path) -> bool:
    """Whether a file is a shard of WebDataset: numbered, with files of one sample behind each other."""
    if not _SHARD.fullmatch(file.name):
        return False
    try:
        with tarfile.open(file, "r:") as tar:
            first, second = (tar.next() for _ in range(2))
    except (tarfile.TarError, OSError):
        return False
    if not (first and second and first.isfile() and second.isfile()):
        return False
    one, other = PurePosixPath(first.name), PurePosixPath(second.name)
    same = one.parent == other.parent and one.name.partition(".")[0] == other.name.partition(".")[0]
    return same and one.name != other.name
