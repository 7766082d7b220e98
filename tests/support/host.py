"""What hostile input could have changed of this machine, and programs that run in a home of their own."""

import ctypes
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from support import secrets
from support.called import Done
from support.solving import ended, start

MARK = "hostile-5f2c9e"
"""Begins the name of each file that hostile code tries to make."""
_PLACES = ("/", "/dev", "/dev/shm", "/tmp", "/var/tmp", str(Path.home()), sys.prefix)
_STILL = ("null", "zero", "full", "random", "urandom")  # devices whose times nobody else changes
_SUBREAPER = 36
_PATIENCE = 20.0  # seconds until what a killed program has started has ended, too


def state(is_made: Callable[[str], object], pids: Iterable[int] = ()) -> dict[str, object]:
    """What programs could have changed of this machine, as far as nobody else changes it meanwhile.

    Args:
        is_made: whether a name is one that they give to files.
        pids: programs whose control groups would be left; this process is one.
    """
    places = {each for each in (*_PLACES, str(Path.cwd())) if Path(each).is_dir()}
    return {
        "devices": _devices(),
        "files": {place: sorted(filter(is_made, os.listdir(place))) for place in places},  # noqa: PTH208
        "mounts": Path("/proc/self/mountinfo").read_text(),
        "processes": sorted(descendants()),
        "groups": groups([os.getpid(), *pids]),
        "limits": [resource.getrlimit(kind) for kind in range(16)],
    }


def groups(pids: Iterable[int]) -> list[Path]:
    """Control groups of what the sandboxes of these processes run."""
    names = tuple(f"virc-{pid}-" for pid in pids)
    found = (Path(folder) for folder, *_ in os.walk("/sys/fs/cgroup"))  # which passes over those that end meanwhile
    return sorted(folder for folder in found if folder.name.startswith(names))


def _devices() -> dict[str, tuple[int, ...]]:
    """Modes, owners and numbers of all devices, and times of some."""
    found: dict[str, tuple[int, ...]] = {}
    for device in Path("/dev").iterdir():
        with suppress(OSError):
            seen = device.lstat()
            # That of its inode changes, too, where tests/extras/sandbox tries its probes without its walls.
            times = (seen.st_mtime_ns,) if device.name in _STILL else ()
            found[device.name] = (seen.st_mode, seen.st_uid, seen.st_gid, seen.st_rdev, *times)
    return found


def descendants() -> set[int]:
    """Ids of the processes below this one; once it adopts, also of those whose parent has ended."""
    states = _states()
    found = {os.getpid()}
    while more := {pid for pid, (kind, parent) in states.items() if parent in found and kind != "Z"} - found:
        found |= more
    return found - {os.getpid()}


def _states() -> dict[int, tuple[str, int]]:
    """The state of each process, and its parent."""
    found: dict[int, tuple[str, int]] = {}
    for file in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            kind, parent = file.read_text().rpartition(")")[2].split()[:2]
            found[int(file.parent.name)] = kind, int(parent)
    return found


@contextmanager
def adopting(left: Callable[[], Iterable[int]]) -> Iterator[None]:
    """Be the parent of processes whose own ends, until all that began inside have ended, or a while has passed.

    Args:
        left: gives the processes that are waited for.
    """
    libc, before = ctypes.CDLL(None), _states()
    assert libc.prctl(_SUBREAPER, 1, 0, 0, 0) == 0
    try:
        yield
    finally:
        end = time.monotonic() + _PATIENCE
        while {*left()} - before.keys() and time.monotonic() < end:
            time.sleep(0.05)
        assert libc.prctl(_SUBREAPER, 0, 0, 0, 0) == 0
        for pid, (kind, parent) in _states().items():
            if (kind, parent) == ("Z", os.getpid()) and pid not in before:
                os.waitpid(pid, 0)


class Home:
    """Runs `virc` as a user whose home, cache and folder for temporary files are in a folder, and nothing else is."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.pids = folder, list[int]()
        for name in ("home", "tmp"):
            (folder / name).mkdir(parents=True)
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("VIRC_", "XDG_"))}
        self.env = {**kept, **secrets.KEYS, "HOME": str(folder / "home"), "TMPDIR": str(folder / "tmp")}

    def start(self, *words: object, stdin: int = subprocess.DEVNULL, **variables: str) -> "subprocess.Popen[bytes]":
        """Start `virc`."""
        process = start(*words, env={**self.env, **variables}, stdin=stdin)
        self.pids.append(process.pid)
        return process

    def run(self, *words: object, **variables: str) -> Done:
        """Run `virc` to its end."""
        return told(self.start(*words, **variables))

    def processes(self) -> list[int]:
        """Ids of the processes below this one that have this home."""
        found = []
        for pid in descendants():
            with suppress(OSError):  # it has ended
                if f"HOME={self.folder}".encode() in Path(f"/proc/{pid}/environ").read_bytes():
                    found.append(pid)
        return found

    def left(self) -> list[str]:
        """Files that no user expects: all of the temporary folder, those with keys, and those of the home but for
        the cache and the settings of virc.
        """
        home = self.folder / "home"
        own = (home / ".cache" / "virc", home / ".config" / "virc")
        there = [file for file in home.rglob("*") if not file.is_dir()]
        strange = [file for file in there if not any(file.is_relative_to(each) for each in own)]
        return [*map(str, [*strange, *(self.folder / "tmp").iterdir()]), *secrets.files_with_keys(self.folder)]


def told(process: "subprocess.Popen[bytes]") -> Done:
    """What a program printed, which shows no key and no traceback; it is killed where it does not end."""
    try:
        done = ended(process)
    finally:
        process.kill()
    assert not secrets.shown(done.out + done.err), done
    assert "Traceback" not in done.err, done.err
    return done
