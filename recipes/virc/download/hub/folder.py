"""A folder that files of a repository are fetched into: whose they are, what is there, and one download at a time.

Partial files lie in it too, not in a cache elsewhere: so a finished one is only renamed, however large it is.
"""

import hashlib
import os
import re
import shlex
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

from virc.core.errors import ConfigError, DataError
from virc.core.files import HIDDEN, IN_THE_WAY, RECORD, is_folder, is_path
from virc.core.locks import held
from virc.core.text import plain
from virc.download.hub import record
from virc.download.hub.listing import check_places
from virc.download.hub.record import BUSY, PARTS, DownloadRecord, Kept, is_archive, mark_of
from virc.download.hub.repository import File, Listing, OnBytes

State = Literal["whole", "packed", "unsure", "old", "absent"]
"""Of a file: there and known; an archive that is there and known, to be unpacked; there, to be hashed; ours of an
earlier commit; not there."""
_PIECE = 2**20
_DEAR = 2**20  # bytes of a file that is recorded at once
_SECONDS = 2.0  # between two records of smaller ones


class Folder:
    """The folder, and its record as it is.

    Args:
        root: where it is; it need not be there.
        listing: what of the repository is wanted there.

    Raises:
        DataError: files of another repository were fetched into it.
    """

    def __init__(self, root: Path, listing: Listing) -> None:
        self.root, self._root, self.listing = root, str(root), listing
        self._asked: tuple[str, ...]
        self._commit: str
        self._begin()

    @property
    def parts(self) -> Path:
        return self.root / HIDDEN / PARTS

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Make the folder, and hold it: no second download works on it.

        After a failure that brought nothing, what was made for it goes again.
        """
        is_new = not self.root.exists()
        hidden = self.root / HIDDEN
        hidden.mkdir(parents=True, exist_ok=True)
        busy = ConfigError(f"another download into {self.root} is running", "wait for it, or stop it")
        try:
            with held(hidden / BUSY, busy):
                self._begin()  # another one may have been at it until now
                try:
                    yield
                except BaseException:
                    if self._is_bare():
                        (hidden / RECORD).unlink(missing_ok=True)
                        self._unwritten = False
                    raise
                finally:
                    if self._unwritten:
                        self._write()
        finally:
            for place in (hidden, self.root) if is_new else (hidden,):
                with suppress(OSError):  # something is in it
                    place.rmdir()

    def _is_bare(self) -> bool:
        """Whether nothing came so far, not even a part of a file."""
        with suppress(OSError):  # it is not there, or holds parts
            self.parts.rmdir()
        came = any(kept.mtime_ns is not None or kept.unpacked for kept in self._files.values())
        return not (came or any(path.is_dir() for path in (self.root / HIDDEN).iterdir()))

    def expect(self, files: tuple[File, ...]) -> None:
        """Record that these files are to come; what is recorded of others stays.

        Raises:
            DataError: the disk folds case, and takes two of their names for one.
        """
        check_places([file.name for file in files], folds=os.path.lexists(self.root / HIDDEN.upper()))
        for file in files:
            self._files.setdefault(file.name, Kept(file.size, self.mark(file)))
        self._write()

    def came(self, *files: File, unpacked: bool = False, keep: bool = False) -> None:
        """Record that a file is whole, or that what is in it is, or in all parts of an archive.

        Of many small files the record is not written each time: one that a kill leaves without is hashed, not fetched.
        """
        for file in files:
            before = self._kept(file)
            recorded = before.mtime_ns if before else None
            mtime = recorded if unpacked else os.stat(f"{self._root}/{file.name}").st_mtime_ns  # noqa: PTH116
            self._files[file.name] = Kept(file.size, self.mark(file), mtime, unpacked, keep)
        self._unwritten = True
        if unpacked or files[0].size >= _DEAR or time.monotonic() - self._written > _SECONDS:
            self._write()

    def finish(self, asked: str = "") -> None:
        """Record that all that was `asked` for is there, and clear what is not needed any more."""
        self._asked = (*(self._asked if self._commit == self.listing.commit else ()), asked)
        self._commit = self.listing.commit
        written = self._write()
        self.clear_spent()
        if written.lacking:
            return  # what an interrupted download of other files left is still of use
        for left in (self.root / HIDDEN).iterdir():
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)

    def mark(self, file: File) -> str:
        return mark_of(file, self.listing.commit)

    def path(self, file: File) -> Path:
        """Where a file goes. Raises DataError: a link, or a file, is on the way there."""
        for slash in re.finditer("/", file.name):
            place = f"{self._root}/{file.name[: slash.start()]}"  # to make a Path costs more than to look
            # In this order: another thread may make the folder meanwhile.
            if os.path.islink(place) or (is_path(place) and not is_folder(place)):  # noqa: PTH114
                raise DataError(f"{plain(file.name)} needs a folder where a link or a file is: {place}", IN_THE_WAY)
        return self.root / file.name

    def state(self, file: File) -> State:
        """What is there of a file. Raises DataError: something else has its name."""
        kept = self._kept(file)
        if kept and kept.unpacked:
            return "whole"
        path = self.path(file)
        there = _stat(path)
        if there is None:
            return "absent"
        known = self._files.get(file.name)  # of whatever content
        if known and stat.S_ISREG(there.st_mode) and _is_as_recorded(there, known):
            if kept is None:
                return "old"
            return "packed" if is_archive(file.name, self.listing.repo.kind) else "whole"
        if not stat.S_ISREG(there.st_mode) or there.st_size not in (file.size, known and known.size):
            raise self.foreign(file)
        return "unsure"

    def is_same(self, file: File, on_bytes: OnBytes) -> bool:
        """Whether a file that is there, and not known, is the wanted one; else it is one of an earlier commit.

        Raises:
            DataError: it is neither.
        """
        known = self._files.get(file.name)
        found = digest(self.path(file), self.mark(file), on_bytes)
        if found == self.mark(file):
            return True
        if (
            known is None
            or known.mark.startswith("commit:")
            or digest(self.path(file), known.mark, lambda _: None) != known.mark
        ):
            raise self.foreign(file)
        return False

    def foreign(self, file: File) -> DataError:
        return DataError(f"something else is there: {self.root / plain(file.name)}", IN_THE_WAY)

    def clear_spent(self) -> None:
        for name, kept in self._files.items():
            path = self.root / name
            if kept.unpacked and not kept.keep and (there := _stat(path)) and _is_as_recorded(there, kept):
                path.unlink()

    def _kept(self, file: File) -> Kept | None:
        known = self._files.get(file.name)
        return known if known and (known.size, known.mark) == (file.size, self.mark(file)) else None

    def _begin(self) -> None:
        found, repo = record.read_record(self.root), self.listing.repo
        if found and found.source != repo:
            hint = f"choose another folder with «--to», or virc download rm {shlex.quote(str(self.root))}"
            raise DataError(f"{self.root} holds files of {found.source.url}", hint)
        self._files = dict(found.files) if found else {}
        self._asked = found.asked if found else ()
        self._commit = found.commit if found else self.listing.commit
        is_empty = not self.root.exists() or all(entry.name == HIDDEN for entry in os.scandir(self.root))
        self._ours = found.ours if found else is_empty
        self._unwritten, self._written = False, time.monotonic()

    def _write(self) -> DownloadRecord:
        repo, asked = self.listing.repo, tuple(dict.fromkeys(self._asked))
        written = DownloadRecord(repo.id, repo.kind, self._commit, self._files, self._ours, repo.host, asked)
        record.write(self.root, written)
        self._unwritten, self._written = False, time.monotonic()
        return written


def standing(folder: Path) -> Path:
    """The folder, or the nearest thing around it that is there, a link to nothing too."""
    place = Path(os.path.abspath(folder))  # noqa: PTH100 (links stay: the disk is that of what they lead to)
    while not os.path.lexists(place):
        place = place.parent
    return place


def digest(path: Path, mark: str, on_bytes: OnBytes) -> str:
    """The mark of a file's content, of the kind that `mark` is; of a file without a hash, `mark` itself."""
    kind = mark.partition(":")[0]
    if kind == "commit":
        return mark
    with path.open("rb") as file:
        sha = hasher(mark, os.fstat(file.fileno()).st_size)
        while piece := file.read(_PIECE):
            sha.update(piece)
            on_bytes(len(piece))
    return f"{kind}:{sha.hexdigest()}"


def hasher(mark: str, size: int) -> "hashlib._Hash":
    """What hashes a content of that size as it was for `mark`."""
    if mark.startswith("sha256:"):
        return hashlib.sha256()
    return hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)


def _is_as_recorded(there: os.stat_result, kept: Kept) -> bool:
    return (there.st_size, there.st_mtime_ns) == (kept.size, kept.mtime_ns)


def _stat(path: Path) -> os.stat_result | None:
    """What a link leads to; the link itself if it leads nowhere."""
    for look in (os.stat, os.lstat):
        with suppress(FileNotFoundError):
            return look(path)
    return None
