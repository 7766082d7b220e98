"""What this machine has: cores, main memory, disk and GPUs."""

import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import msgspec

from virc.core import processes
from virc.core.errors import VircError
from virc.core.files import contents
from virc.core.parallel import cores
from virc.core.plan import Step
from virc.envs.environment import DRIVER

GIB = 2**30
_KIB = 2**10
_UNLIMITED = 2**60  # cgroups write "no limit" as a number near this
_PATIENCE = 20.0  # seconds: a driver in trouble answers late or never
_FIELDS = ("name", "memory.total", "memory.free", "driver_version")
_GROUPS = ("memory", "")  # controllers of version 1 and 2, as /proc/self/cgroup names them
_LIMITS = {"memory": ("memory.limit_in_bytes", "memory.usage_in_bytes"), "": ("memory.max", "memory.current")}


class Gpu(msgspec.Struct, frozen=True):
    """One NVIDIA GPU: its memory, in all and what others have left of it, and the version of its driver."""

    name: str
    gib: float
    free_gib: float
    driver: str


class Machine(msgspec.Struct, frozen=True):
    """What a machine has.

    Args:
        cores: that this process may run on.
        memory_gib, free_gib: main memory, in all and free; where a cgroup limits it, of that.
        disk_gib: free at the path.
        gpus: those the driver answers for.
        trouble: why there are no GPUs although a driver is loaded.
    """

    cores: int
    memory_gib: float
    free_gib: float
    disk_gib: float
    gpus: tuple[Gpu, ...] = ()
    trouble: str | None = None


def find(disk: Path) -> Machine:
    """What this machine has; GPUs that do not answer are none, and `trouble` says so where a driver is loaded.

    Args:
        disk: path whose free disk counts.
    """
    failure: VircError | None = None
    gpus: tuple[Gpu, ...] = ()
    query = ("nvidia-smi", f"--query-gpu={','.join(_FIELDS)}", "--format=csv,noheader,nounits")
    try:
        gpus = read_gpus(processes.answer(Step(query, "ask for the GPUs"), _PATIENCE))
    except VircError as error:
        failure = error
    return here(disk, gpus, trouble(failure, gpus))


def read_gpus(stdout: str) -> tuple[Gpu, ...]:
    """The GPUs that such a process printed; lines of another form are left out."""
    return tuple(gpu for line in stdout.splitlines() if (gpu := _gpu(line)))


def _gpu(line: str) -> Gpu | None:
    fields = [field.strip() for field in line.rsplit(",", len(_FIELDS) - 1)]  # a name may hold a comma
    if len(fields) < len(_FIELDS) or not all(re.fullmatch(r"\d{1,9}", field) for field in fields[1:3]):
        return None
    return Gpu(fields[0], int(fields[1]) / _KIB, int(fields[2]) / _KIB, fields[3])


def trouble(failure: VircError | None, gpus: Sequence[Gpu], driver: Path = DRIVER) -> str | None:
    """Why no GPU can be used although a driver is loaded; None where there is nothing to say.

    Args:
        failure: what asking for the GPUs ended with.
    """
    if gpus or not driver.exists():
        return None
    return f"an NVIDIA driver is loaded, but no GPU answers: {failure.message if failure else 'it names none'}"


def here(disk: Path, gpus: Sequence[Gpu] = (), trouble: str | None = None, root: Path = Path("/")) -> Machine:
    """This machine.

    Args:
        disk: path whose free disk counts; it need not exist yet.
        root: root of the file system.
    """
    total, free = _memory(root)
    place = next(parent for parent in (disk.absolute(), *disk.absolute().parents) if parent.exists())
    return Machine(
        cores=cores(),
        memory_gib=total / GIB,
        free_gib=free / GIB,
        disk_gib=shutil.disk_usage(place).free / GIB,
        gpus=tuple(gpus),
        trouble=trouble,
    )


def _memory(root: Path) -> tuple[int, int]:
    """Bytes of main memory, in all and free: the machine's, or what the narrowest cgroup leaves of it."""
    fields = dict(re.findall(r"(?m)^(\w+):\s+(\d+) kB", _text(root / "proc/meminfo")))
    total = int(fields.get("MemTotal", 0)) * _KIB or _installed()
    free = int(fields.get("MemAvailable", 0)) * _KIB or total
    for limit, used in _limits(root):
        if limit < min(total, _UNLIMITED):
            total, free = limit, min(free, max(0, limit - used))
    return total, free


def _installed() -> int:
    """Where there is no /proc: macOS, Windows."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 0


def _limits(root: Path) -> list[tuple[int, int]]:
    """Limit and use in bytes of this process's memory cgroup and of all around it; in a container only the
    controller's own folder may be there."""
    found = []
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, group = (*line.split(":", 2), "", "")[:3]
        names = controllers.split(",")
        kind = next((each for each in _GROUPS if each in names), None)
        if kind is None:
            continue
        top = root / "sys/fs/cgroup" / kind
        folder = top / group.strip("/")
        for place in (folder, *folder.parents):
            limit, used = (_text(place / name).strip() for name in _LIMITS[kind])
            if limit.isdigit() and used.isdigit():
                cached = re.search(r"(?m)^(?:total_)?inactive_file (\d+)$", _text(place / "memory.stat"))
                freeable = int(cached[1]) if cached else 0  # bytes of files that the group holds
                found.append((int(limit), int(used) - freeable))
            if place == top:
                break
    return found


def _text(path: Path) -> str:
    try:
        return contents(path, 2**20).decode("utf-8", "replace")
    except OSError:
        return ""
