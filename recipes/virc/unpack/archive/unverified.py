"""The names of files that no checksum of the archive vouches for yet, on the disk, so that a rerun may replace them.

Some archives have one checksum behind all of their content. What is wrong in such an archive is known only when its end
is read, and by then files made of it have their names. They are listed before they get them, and the list goes when
the checksum was right.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from virc.core.files import contents

NAME = ".virc-unpack.unverified"
"""The list, in the folder that files are put into."""

_MOST_BYTES = 2**30
_NEW = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


class _File(msgspec.Struct, frozen=True, array_like=True):
    """A file as it was written: one that was changed since is its owner's."""

    name: str
    size: int
    mtime_ns: int


class Unverified:
    """The list of one folder; one thread writes it."""

    def __init__(self, root: Path) -> None:
        self._path = root / NAME
        self._before = {file.name: file for file in _read(self._path)}
        self._descriptor: int | None = None

    def add(self, name: str, size: int, mtime_ns: int) -> None:
        """List a file that is about to get its name."""
        if self._descriptor is None:
            self._descriptor = os.open(self._path, _NEW, 0o600)
        line = msgspec.json.encode(_File(_written(name), size, mtime_ns))
        os.write(self._descriptor, line + b"\n")

    def may_replace(self, name: str, there: os.stat_result) -> bool:
        """Whether what is there is a file that an earlier run wrote, as it wrote it, and that nothing vouched for."""
        file = self._before.get(_written(name))
        return file is not None and (file.size, file.mtime_ns) == (there.st_size, there.st_mtime_ns)

    def clear(self) -> None:
        """A checksum vouches for all files so far; of a list that an earlier run left, some may be still to come."""
        if self._descriptor is not None and not self._before:
            os.ftruncate(self._descriptor, 0)

    def end(self) -> None:
        self.close()
        self._path.unlink(missing_ok=True)

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _written(name: str) -> str:
    """A name as the list has it: JSON takes no bytes that are no text, which names may have."""
    return name.encode(errors="surrogateescape").decode("latin-1")


def _read(path: Path) -> Iterator[_File]:
    """The files of a list; a line that was cut off by a kill is the last, and its file has no name yet."""
    if os.path.islink(path) or not path.is_file():  # noqa: PTH114
        return
    for line in contents(path, _MOST_BYTES).splitlines():
        try:
            yield msgspec.json.decode(line, type=_File)
        except msgspec.DecodeError:
            return
