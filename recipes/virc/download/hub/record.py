"""What was fetched into a folder, in its `.virc-download/record.json`: it tells our files from somebody else's."""

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from virc.core.files import HIDDEN, RECORD, json_or_none
from virc.download.hub.repository import File, Host, Kind, Repo
from virc.unpack.archive import parts

PARTS = "parts"
"""Folder in it where files lie while they are partial."""
BUSY = "download"
"""What a running download locks in it."""
_MOST = 256 * 2**20  # bytes; a repository of a million files has a record of half that


class Kept(msgspec.Struct, frozen=True, omit_defaults=True):
    """A file that was asked for.

    Attributes:
        mark: what its content is known by; see `mark_of`.
        mtime_ns: of the file when it was whole; None: it is not there yet.
        unpacked: all that is in this archive is in the folder.
        keep: the archive was to stay as well.
    """

    size: int
    mark: str
    mtime_ns: int | None = None
    unpacked: bool = False
    keep: bool = False


class DownloadRecord(msgspec.Struct, frozen=True):
    """What was asked for of a repository, and what of it is there.

    Attributes:
        repo, kind, commit: where from; files of an earlier commit that are the same stay.
        files: by their names in the repository.
        ours: there was nothing in the folder before.
        asked: what was asked for at this commit, and came.
    """

    repo: str
    kind: Kind
    commit: str
    files: Mapping[str, Kept] = {}
    ours: bool = True
    host: Host = "hub"
    asked: tuple[str, ...] = ()

    @property
    def source(self) -> Repo:
        return Repo(self.repo, self.kind, self.host)

    @property
    def lacking(self) -> tuple[str, ...]:
        """Names of the files that did not come yet, and of archives that are not unpacked yet."""
        return tuple(
            name
            for name, kept in self.files.items()
            if not (kept.unpacked if is_archive(name, self.kind) else kept.mtime_ns is not None)
        )

    @property
    def size(self) -> int:
        return sum(kept.size for kept in self.files.values())


def wanted_file(name: str, kept: Kept) -> File:
    kind, _, value = kept.mark.partition(":")
    return File(name, kept.size, sha256=value if kind == "sha256" else None, git=value if kind == "git" else None)


def is_archive(name: str, kind: Kind) -> bool:
    """Whether a file is unpacked when it came: those of datasets that `virc unpack` takes."""
    return kind == "dataset" and parts.is_archive(name)


def mark_of(file: File, commit: str) -> str:
    """What a content is known by: its hash; of a file without one, the commit that had it."""
    if file.sha256:
        return f"sha256:{file.sha256}"
    return f"git:{file.git}" if file.git else f"commit:{commit}"


def read_record(folder: Path) -> DownloadRecord | None:
    """The record in a folder; None where there is none, or none that can be read: then its files are hashed again."""
    return json_or_none(folder / HIDDEN / RECORD, DownloadRecord, _MOST)


def write(folder: Path, record: DownloadRecord) -> None:
    """Write the record; it is on the disk, also after a loss of power, when this returns."""
    part = folder / HIDDEN / f".{RECORD}.new"
    with part.open("wb") as out:
        out.write(msgspec.json.format(msgspec.json.encode(record)))
        out.flush()
        os.fsync(out.fileno())
    part.replace(part.with_name(RECORD))
    sync(part.parent)


def sync(folder: Path) -> None:
    """Make names in a folder safe on the disk, where the system can."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
