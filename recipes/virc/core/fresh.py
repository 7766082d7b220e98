"""A new folder that appears whole or not at all; what a killed run left of it is cleared by the next."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from virc.core.errors import UsageError, VircError
from virc.core.locks import lock, unlock
from virc.core.text import clause


@contextmanager
def fresh_folder(to: Path) -> Iterator[Path]:
    """Give a hidden folder beside `to` to fill; on leaving without an error it becomes `to`.

    Raises:
        UsageError: `to` is in use.
        ConfigError: another run is making it.
        VircError: the disk refuses.
    """
    with _disk(to):
        whole = to.resolve()
        whole.parent.mkdir(parents=True, exist_ok=True)
        partial = whole.with_name(f".{whole.name}.partial")
        file = lock(whole)
    try:
        with _disk(to):
            if to.exists() and (not to.is_dir() or any(to.iterdir())):
                raise _taken(to)
            if partial.exists():
                shutil.rmtree(partial)
            partial.mkdir()
        yield partial
        _put(partial, whole, to)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        unlock(file)


def _put(partial: Path, whole: Path, to: Path) -> None:
    try:
        if whole.is_dir():
            shutil.copymode(whole, partial)
            with suppress(OSError):
                whole.rmdir()  # Windows replaces no folder, not even an empty one
        partial.replace(whole)
    except OSError as error:  # somebody else filled it meanwhile
        raise _taken(to) from error


def _taken(to: Path) -> UsageError:
    return UsageError(f"{to} is in use", "choose another folder with --to")


@contextmanager
def _disk(to: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links; a NUL
        raise VircError(f"cannot make the folder {to}: {clause(error)}") from error
