"""Control groups (version 2) of processes of the sandbox, where this process may make some: limits, and a freezer.

A group is made below that of this process, where its user may write there: as root, in a container with a writable
`/sys/fs/cgroup`, or in a unit that systemd delegates. What the kernel offers of memory, pids and cpu limits it; the
freezer needs none of them.
"""

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path

_SELF = "virc"  # group of the processes of virc, where that of the unit must be empty
_CONTROLLERS = ("memory", "pids", "cpu")
_GRACE = 1.0  # seconds until the kernel has given up a group whose process is killed


def make(pid: int, limits: Mapping[str, str]) -> Path | None:
    """Move a process into a group of its own; returns its folder, or None where there can be none.

    `limits` are what to write into the group's files, such as `pids.max`, as far as it has these files.
    """
    parent = _parent(os.getpid())
    if parent is None:
        return None
    group = parent / f"virc-{os.getpid()}-{pid}"
    try:
        group.mkdir()
        if not (group / "cgroup.freeze").exists():  # Linux 5.2
            raise OSError
        for name, value in limits.items():
            if (group / name).exists():
                (group / name).write_text(value)
        (group / "cgroup.procs").write_text(str(pid))
    except OSError:
        with suppress(OSError):
            group.rmdir()
        return None
    return group


def remove(group: Path) -> None:
    end = time.monotonic() + _GRACE
    while group.exists():
        try:
            group.rmdir()
        except OSError:
            if time.monotonic() > end:
                return  # the next process of virc removes it
            time.sleep(0.001)


@cache
def _parent(pid: int) -> Path | None:
    try:
        own = _own()
        if own is None or not os.access(own / "cgroup.procs", os.W_OK) or not os.access(own, os.W_OK):
            return None
        for group in own.glob("virc-*-*"):  # of processes that were killed
            if not Path("/proc", group.name.split("-")[1]).exists():
                with suppress(OSError):
                    group.rmdir()
        _delegate(own)
    except OSError:
        return None
    return own


def _own() -> Path | None:
    """The group of this process, or the one around it where it has been moved by `_delegate`."""
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    name = next((line[3:] for line in lines if line.startswith("0::")), None)
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        mount, _, kind = line.partition(" - ")
        root, place = mount.split()[3:5]
        if name and kind.startswith("cgroup2 ") and Path(name).is_relative_to(root):
            found = Path(place) / Path(name).relative_to(root)
            return found.parent if found.name == _SELF else found
    return None


def _delegate(own: Path) -> None:
    """Have the groups below get controllers, which the kernel gives them where the group itself has no processes.

    That is done where the group has processes of this one alone, as that of `systemd-run --scope` has.
    """
    wanted = set(_CONTROLLERS) & set((own / "cgroup.controllers").read_text().split())
    if not wanted - set((own / "cgroup.subtree_control").read_text().split()):
        return
    pids = list(map(int, (own / "cgroup.procs").read_text().split()))
    if (own / "cgroup.type").exists():  # the root group, which has no type, may have processes
        if not all(os.getpid() in _ancestors(pid) for pid in pids):
            return
        (own / _SELF).mkdir(exist_ok=True)
        for pid in pids:
            with suppress(ProcessLookupError):
                (own / _SELF / "cgroup.procs").write_text(str(pid))
    for name in wanted:
        with suppress(OSError):
            (own / "cgroup.subtree_control").write_text(f"+{name}")


def _ancestors(pid: int) -> Iterator[int]:
    while pid > 0:
        yield pid
        try:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            return
