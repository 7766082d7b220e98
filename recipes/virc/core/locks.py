"""One writer at a time for a file or folder, also across processes that are killed."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from virc.core.errors import ConfigError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl


@contextmanager
def held(path: Path, busy: ConfigError | None = None) -> Iterator[None]:
    """Hold the lock of `path` while the block lasts; see `lock`."""
    file = lock(path, busy)
    try:
        yield
    finally:
        unlock(file)


def is_held(path: Path) -> bool:
    """Whether another process, or another block of this one, holds the lock of `path`."""
    try:
        with held(path):
            return False
    except ConfigError:
        return True


def lock(path: Path, busy: ConfigError | None = None) -> IO[bytes]:
    """Hold the file beside `path` that stands for it: `path` itself is replaced on the way.

    Raises:
        ConfigError: another run holds it; `busy`, where that says it better.
    """
    place = path.with_name(f".{path.name}.lock")
    while True:
        file = place.open("ab")
        try:
            if sys.platform == "win32":
                msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
            else:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            file.close()
            raise busy or ConfigError(f"another run is writing {path}", "wait for it, or choose another name") from None
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), place.stat()):
                return file
        file.close()  # it was taken away between opening and locking


def unlock(file: IO[bytes]) -> None:
    """Take the lock's file away, then let it go; in this order nobody holds a file that is not there."""
    with suppress(OSError):  # Windows removes no open file; then it stays, unlocked
        Path(file.name).unlink()
    file.close()
