"""What this machine has: cores, main memory, disk and GPUs."""

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import takewhile
from pathlib import Path

import msgspec

from virc.core import processes
from virc.core.errors import VircError
from virc.core.files import contents
from virc.core.plan import Step
from virc.core.work.parallel import cores
from virc.envs.environment import DRIVER

GIB = 2**30
_KIB = 2**10
_UNLIMITED = 2**60  # cgroups write "no limit" as a number near this
_PATIENCE = 20.0  # seconds: a driver in trouble answers late or never
_FIELDS = ("name", "memory.total", "memory.free", "driver_version", "uuid", "mig.mode.current")
VISIBLE, ORDER = "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"
_ORDERS = ("FASTEST_FIRST", "PCI_BUS_ID")  # with any other, an empty one too, CUDA ends with error 101 and shows no GPU
_GROUPS = ("memory", "")  # controllers of version 1 and 2, as /proc/self/cgroup names them
_SLICE = 0.95  # GiB of a GB in a slice's name: 1g.5gb has 4.75 GiB, 3g.20gb 19.6
_OF_SLICE = re.compile(r"MIG (\S*?(\d+)gb\S*).*\(UUID: (MIG-[^)]+)\)")
_LIMITS = {"memory": ("memory.limit_in_bytes", "memory.usage_in_bytes"), "": ("memory.max", "memory.current")}


class Gpu(msgspec.Struct, frozen=True):
    """One NVIDIA GPU, or a MIG slice of one.

    Args:
        gib, free_gib: its memory, in all and free; a slice, whose use nvidia-smi does not say, counts as free.
        slices: of a GPU in MIG mode, which CUDA shows in its place; the GPU itself then has 0 GiB.
    """

    name: str
    gib: float
    free_gib: float
    driver: str
    uuid: str = ""
    slices: tuple["Gpu", ...] = ()


class Machine(msgspec.Struct, frozen=True):
    """What a machine has.

    Args:
        cores: that this process may run on.
        memory_gib, free_gib: main memory, in all and free; where a cgroup limits it, of that.
        gpus: those that CUDA shows to a process, in its order.
        trouble: why GPUs of this machine cannot be used, or not all of them.
    """

    cores: int
    memory_gib: float
    free_gib: float
    disk_gib: float
    gpus: tuple[Gpu, ...] = ()
    trouble: str | None = None


def find(disk: Path, env: Mapping[str, str] = os.environ) -> Machine:
    """What this machine has; GPUs that do not answer are left out, and `trouble` says so if a driver is loaded.

    `env` says by CUDA_VISIBLE_DEVICES and CUDA_DEVICE_ORDER which GPUs are counted, and in which order.
    """
    failure: VircError | None = None
    gpus: tuple[Gpu, ...] = ()
    fields = (*_FIELDS, "compute_cap") if env.get(ORDER) == _ORDERS[0] else _FIELDS
    query = ("nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits")
    try:
        gpus = read_gpus(processes.answer(Step(query, "ask for the GPUs"), _PATIENCE), len(fields))
    except VircError as error:
        failure = error
    if any(not gpu.gib for gpu in gpus):
        with suppress(VircError):
            gpus = with_slices(gpus, processes.answer(Step(("nvidia-smi", "-L"), "ask for slices"), _PATIENCE))
    if gpus and env.get(ORDER, _ORDERS[0]) not in _ORDERS:
        return here(disk, (), f"{ORDER}={env[ORDER]} shows no GPU: CUDA takes {' or '.join(_ORDERS)}")
    shown = visible(gpus, env.get(VISIBLE))
    if gpus and len(shown) < len(gpus):
        why = f"{VISIBLE}={env[VISIBLE]}" if VISIBLE in env else "the MIG mode of a GPU"
        return here(disk, shown, f"{why} shows {len(shown) or 'none'} of the {len(gpus)} GPUs here")
    return here(disk, shown, trouble(failure, shown))


def read_gpus(stdout: str, fields: int = len(_FIELDS)) -> tuple[Gpu, ...]:
    """The GPUs in the output of `nvidia-smi`; the fastest first if it has the column `compute_cap`.

    Lines of another form are left out. The driver lists GPUs in the order of the PCI bus, which equal ones keep.
    """
    rows = [[field.strip() for field in line.rsplit(",", fields - 1)] for line in stdout.splitlines()]
    if fields > len(_FIELDS):
        rows.sort(key=lambda row: -float(row[-1]) if re.fullmatch(r"\d+\.\d+", row[-1]) else 0.0)
    return tuple(gpu for row in rows if (gpu := _gpu(row)))


def _gpu(fields: list[str]) -> Gpu | None:
    if fields[5:6] == ["Enabled"]:
        return Gpu(fields[0], 0.0, 0.0, fields[3], fields[4])
    if len(fields) < len(_FIELDS) or not all(re.fullmatch(r"\d{1,9}", field) for field in fields[1:3]):
        return None
    return Gpu(fields[0], int(fields[1]) / _KIB, int(fields[2]) / _KIB, fields[3], fields[4])


def with_slices(gpus: Sequence[Gpu], listed: str) -> tuple[Gpu, ...]:
    """The GPUs, those in MIG mode with their slices as `nvidia-smi -L` lists them; a slice's name has its size."""
    with_their_slices: list[Gpu] = []
    for gpu in gpus:
        lines_of_gpu = listed.partition(f"(UUID: {gpu.uuid})")[2].partition("\nGPU ")[0]
        sizes = ((name, int(gb) * _SLICE, uuid) for name, gb, uuid in _OF_SLICE.findall(lines_of_gpu))
        slices = tuple(Gpu(f"{gpu.name} MIG {name}", gib, gib, gpu.driver, uuid) for name, gib, uuid in sizes)
        with_their_slices.append(msgspec.structs.replace(gpu, slices=slices))
    return tuple(with_their_slices)


def visible(gpus: Sequence[Gpu], named: str | None) -> tuple[Gpu, ...]:
    """The GPUs that CUDA shows to a process; a slice is shown alone (NVIDIA's MIG guide, 'CUDA Device Enumeration')."""
    slices = [each for gpu in gpus for each in gpu.slices]
    chosen = list(gpus)
    if named is not None:
        chosen = _named([*gpus, *slices], len(gpus), named.split(","))
    for gpu in chosen:
        if gpu in slices:
            return (gpu,)
        if gpu.slices:
            return gpu.slices[:1]
    return tuple(gpu for gpu in chosen if gpu.gib)


def _named(known: Sequence[Gpu], numbered: int, words: Sequence[str]) -> list[Gpu]:
    """The GPUs that the words of CUDA_VISIBLE_DEVICES name, up to the first word that names none.

    None at all if one is named twice. The first `numbered` of the known ones may be named by number, all by UUID.
    The result is what CUDA and `torch.cuda.device_count`, which reads the list by itself, both show: for torch the
    letter case of a UUID counts, and so does a repeated word anywhere; for CUDA "GPU-" alone names none.
    Source: CUDA C++ Programming Guide, 'CUDA Environment Variables'; `torch.cuda._parse_visible_devices`.
    """
    are_ids = words[0].startswith(("GPU-", "MIG-"))  # numbers and UUIDs do not mix
    form = r"(?:GPU|MIG)-.+" if are_ids else r"\s*(?:\+?\d+|-0+(?!\d))"
    read = [match[0] for match in takewhile(bool, (re.match(form, word, re.ASCII) for word in words)) if match]
    if are_ids:
        candidates = [[gpu for gpu in known if gpu.uuid.startswith(word)] for word in read]
    else:
        numbers = [int(word) for word in read]
        read = [str(number) for number in numbers]
        candidates = [[known[number]] if number < numbered else [] for number in numbers]
    chosen = [gpus[0] for gpus in takewhile(lambda gpus: len(gpus) == 1, candidates)]
    has_repeats = len({*read}) < len(read) or len({*chosen}) < len(chosen)
    return [] if has_repeats else chosen


def pinned(variables: Mapping[str, str], env: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Variables of a process here that takes the GPUs that `find` counts."""
    chosen, shown = variables.get(VISIBLE, ""), env.get(VISIBLE)
    if chosen.startswith("-"):
        return dict(variables)
    if chosen and shown is not None:
        words = dict(enumerate(shown.split(",")))
        chosen = ",".join(words.get(int(number)) or "-1" for number in chosen.split(","))
    return {**variables, ORDER: env.get(ORDER) or "PCI_BUS_ID", **({VISIBLE: chosen} if chosen else {})}


def trouble(failure: VircError | None, gpus: Sequence[Gpu], driver: Path = DRIVER) -> str | None:
    """Why no GPU can be used although a driver is loaded; `failure` is what asking for the GPUs ended with."""
    if gpus or not driver.exists():
        return None
    return f"an NVIDIA driver is loaded, but no GPU answers: {failure.message if failure else 'it names none'}"


def here(disk: Path, gpus: Sequence[Gpu] = (), trouble: str | None = None, root: Path = Path("/")) -> Machine:
    """This machine; `disk`, whose free space counts, need not exist yet."""
    total, free = memory(root)
    place = next(parent for parent in (disk.absolute(), *disk.absolute().parents) if parent.exists())
    return Machine(
        cores=cores(),
        memory_gib=total / GIB,
        free_gib=free / GIB,
        disk_gib=shutil.disk_usage(place).free / GIB,
        gpus=tuple(gpus),
        trouble=trouble,
    )


def memory(root: Path = Path("/")) -> tuple[int, int]:
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
