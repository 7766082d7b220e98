"""Files that are sent as they were searched, or not at all."""

import os
import time
from hashlib import sha256
from pathlib import Path

from virc.core.errors import DataError

MAX_HELD = 2**28  # bytes of files that are in memory at once, or of one that is sent from there
_STEP = 0.05  # seconds, longer than a step of the clock of a file system
_FLAGS = os.O_RDONLY | sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"))


class Upload:
    """A file as it is uploaded: its name in the repository, and its content."""

    def __init__(self, name: str, content: bytes) -> None:
        self.name, self.size, self._content = name, len(content), content

    def check(self) -> None:
        """Raises DataError: it is not what was searched any more."""

    def content(self) -> bytes | str:
        """What was searched; of a large file the path, to be checked when it was read."""
        return self._content


class SearchedFile(Upload):
    """A file that is searched next. Raises DataError, as its methods do: it was changed, replaced or deleted since."""

    def __init__(self, name: str, file: Path) -> None:
        self.name, self._file, self._target, self._digest = name, file, file.resolve(), b""
        self._state = self._found()
        self.size = self._state[0]
        if 0 <= time.time() - self._state[-1] / 1e9 < _STEP:
            time.sleep(_STEP)  # a change in the same step would not show
        self.check()

    def check(self) -> None:
        if self._found() != self._state:
            raise self._changed()

    def finish(self) -> None:
        """Call it when the file was searched."""
        self._digest = sha256(self._read()).digest() if self.size <= MAX_HELD else b""
        self.check()

    def content(self) -> bytes | str:
        if self.size > MAX_HELD:
            return str(self._target)
        if sha256(content := self._read()).digest() != self._digest:
            raise self._changed()
        return content

    def _read(self) -> bytes:
        try:
            with open(self._target, "rb", opener=lambda path, _: os.open(path, _FLAGS)) as opened:
                return opened.read(self.size + 1)
        except OSError as error:
            raise self._changed() from error

    def _found(self) -> tuple[int, ...]:
        try:
            link, file = self._file.lstat(), self._target.lstat()  # the same, but for a link
        except OSError as error:
            raise self._changed() from error
        return file.st_size, file.st_ino, file.st_mtime_ns, link.st_ino, link.st_ctime_ns, file.st_ctime_ns

    def _changed(self) -> DataError:
        how = "changed" if os.path.lexists(self._file) else "deleted"
        return DataError(f"{self.name} was {how} while it was published", "push again when nothing writes there")
