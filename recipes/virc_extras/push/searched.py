"""Files that are sent as they were searched, or not at all."""

import hashlib
import os
import time
from io import BufferedReader
from pathlib import Path

from virc.core.errors import DataError

MAX_HELD = 2**29  # bytes of files that are in memory at once, or of one that is sent from there
_STEP = 0.05  # seconds, longer than a step of the clock of a file system
_FLAGS = os.O_RDONLY | sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"))


class SearchedFile:
    """A file that is about to be searched by its path; `finish` says that it was.

    Raises DataError, as its methods do: it was changed, replaced or deleted since.
    """

    def __init__(self, file: Path, name: str) -> None:
        self._file, self._path, self._name, self._digest = file, file.resolve(), name, b""
        self._state = self._found()
        self.size = self._state[0]
        if 0 <= time.time() - self._state[-1] / 1e9 < _STEP:
            time.sleep(_STEP)  # a change in the same step would not show
            self.check()

    def check(self) -> None:
        if self._found() != self._state:
            raise self._changed()

    def finish(self) -> None:
        if self.size <= MAX_HELD:
            with self._opened() as opened:
                self._digest = hashlib.file_digest(opened, "sha256").digest()
        self.check()

    def content(self) -> bytes | str:
        """Its bytes, which are those that were searched; of a large one the path, to be checked when it was read."""
        if self.size > MAX_HELD:
            return str(self._path)
        with self._opened() as opened:
            content = opened.read(self.size + 1)
        if hashlib.sha256(content).digest() != self._digest:
            raise self._changed()
        return content

    def _opened(self) -> BufferedReader:
        try:
            return open(self._path, "rb", opener=lambda path, _: os.open(path, _FLAGS))
        except OSError as error:
            raise self._changed() from error

    def _found(self) -> tuple[int, ...]:
        try:
            link, file = self._file.lstat(), self._path.lstat()  # the same, but for a link
        except OSError as error:
            raise self._changed() from error
        return file.st_size, file.st_ino, file.st_mtime_ns, link.st_ino, link.st_ctime_ns, file.st_ctime_ns

    def _changed(self) -> DataError:
        how = "changed" if os.path.lexists(self._file) else "deleted"
        return DataError(f"{self._name} was {how} while it was published", "push again when nothing writes there")
