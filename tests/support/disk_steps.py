"""What a loss of power would tell, and no kill does: the order in which files are made safe, renamed and removed."""

import os
import threading
from pathlib import Path
from typing import NamedTuple

import pytest


class Step(NamedTuple):
    """One call: `fsync`, `sync`, `rename` or `unlink`."""

    what: str
    path: Path = Path()  # of a rename, the new name
    content: bytes = b""  # of the file then: what is written later is not made safe
    source: Path = Path()  # of a rename, the old name
    in_main: bool = True  # whether the main thread made it


def recorded(monkeypatch: pytest.MonkeyPatch) -> list[Step]:
    """The steps from now on, as they are made; nothing waits for the disk."""
    steps: list[Step] = []

    def add(what: str, path: Path, source: Path = Path()) -> None:
        content = path.read_bytes() if path.is_file() else b""
        is_main = threading.current_thread() is threading.main_thread()
        steps.append(Step(what, path, content, source, is_main))

    def fsync(descriptor: int) -> None:
        add("fsync", Path(f"/proc/self/fd/{descriptor}").readlink())

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "sync", lambda: steps.append(Step("sync")))
    for name in ("replace", "rename"):
        real = getattr(os, name)

        def rename(source: str, target: str, real=real) -> None:  # type: ignore[no-untyped-def]
            real(source, target)
            add("rename", Path(target).absolute(), Path(source).absolute())

        monkeypatch.setattr(os, name, rename)
    for name in ("unlink", "remove"):
        remove = getattr(os, name)

        def unlink(path: str, remove=remove, **more: int) -> None:  # type: ignore[no-untyped-def]
            remove(path, **more)
            add("unlink", Path(path).absolute())

        monkeypatch.setattr(os, name, unlink)
    return steps


def first(steps: list[Step], what: str, path: Path) -> int:
    """Where that step is first made."""
    return next(at for at, step in enumerate(steps) if (step.what, step.path) == (what, path))
