"""One writer at a time for a file or folder, also across processes that are killed."""

import errno
import logging
import os
import platform
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import IO

from virc.core.errors import ConfigError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl


_NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL}
_LOG = logging.getLogger(__name__)


@contextmanager
def held(path: Path, busy: ConfigError | None = None) -> Iterator[None]:
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
    """Hold the file next to `path` that stands for it: `path` itself is replaced on the way.

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
        except OSError as error:
            file.close()
            busy = busy or ConfigError(f"another run is writing {path}", "wait for it, or choose another name")
            if isinstance(error, BlockingIOError | PermissionError):
                raise busy from None
            if error.errno not in _NO_LOCKS:
                raise
            place.unlink(missing_ok=True)
            return _made_alone(place.with_name(f"{place.name}.pid"), busy)
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), place.stat()):
                return file
        file.close()  # it was taken away between opening and locking


def _made_alone(place: Path, busy: ConfigError) -> IO[bytes]:
    """Hold a file that only one can make, on a mount without locks; what a killed process of this machine left goes."""
    _say_once(str(place.parent))
    while True:
        try:
            file = place.open("xb")
        except FileExistsError:
            if _is_held(place):
                raise ConfigError(
                    busy.message, f"{busy.hint}; if none runs any more: rm {shlex.quote(str(place))}"
                ) from None
            place.unlink(missing_ok=True)
            continue
        file.write(f"{os.getpid()} {platform.node()}".encode())
        file.flush()
        return file


def _is_held(place: Path) -> bool:
    with suppress(OSError, ValueError):
        pid, _, host = place.read_text().partition(" ")
        if host == platform.node():
            try:
                os.kill(int(pid), 0)
            except ProcessLookupError:
                return False
    return place.exists()


@cache
def _say_once(folder: str) -> None:
    _LOG.warning("%s has no file locks: files that only one run can make stand for them", folder)


def unlock(file: IO[bytes]) -> None:
    """Take the lock's file away, then let it go; in this order nobody holds a file that is not there."""
    with suppress(OSError):  # Windows removes no open file; then it stays, unlocked
        Path(file.name).unlink()
    file.close()
