"""How an engine's environment is made, checked and found; nothing here starts a process."""

import hashlib
import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, get_args

import msgspec

from virc.core import entry_points, plugins
from virc.core.errors import SetupError
from virc.core.files import contents, is_path, read_json
from virc.core.plan import Step
from virc.envs.pins import ADDED, BUILT, PYTHON, Device, Environment, driver_needed, left_out, pinned

_PACKAGE = Path(__file__).parents[1]
DRIVER = Path("/proc/driver/nvidia/version")
_COPIED = {".py", ".yaml", ".json"}
_OF_SYSTEMS = {".py", ".yaml"}  # what is recorded of them is for tests
_METADATA = "virc_systems-0.dist-info"
"""By which `core.plugins` finds published systems inside an engine."""
_X86_64 = {"x86_64", "amd64"}
_OF_TORCH = ("torchvision", "torchaudio")  # compiled against it
_LIST_VERSIONS = (
    "import json; from importlib.metadata import distributions as d; "
    "print(json.dumps({x.name.lower().replace('_', '-'): x.version for x in d()}))"
)


class Registered(msgspec.Struct, frozen=True):
    python: str


def default_device(driver: Path = DRIVER) -> Device:
    """`cuda` where an NVIDIA driver is loaded, else `cpu`."""
    return "cuda" if driver.exists() else "cpu"


def steps(environment: Environment, uv: str) -> list[Step]:
    same = sys.version_info[:2] == tuple(map(int, PYTHON.split(".")))
    interpreter = sys.executable if same else PYTHON
    # Compiled once here, or every start of the engine would compile a thousand files again.
    install = (uv, "pip", "install", "--python", str(environment.python), "--compile-bytecode")
    excluded = left_out(environment)
    pins = (*(("--excludes", str(environment.excludes)) if excluded else ()), "-r", str(environment.pins))
    built = [f"--no-binary={name}" for name in sorted(BUILT.keys() & pinned(environment).keys())]
    tested = (*install, "--require-hashes", "--no-deps", "--only-binary=:all:", *built, *pins)
    overrides = [*([environment.override] if environment.override.exists() else []), ADDED]
    extra = environment.extra
    # uv: UV_TORCH_BACKEND takes torch from an index whose builds have other hashes; COLUMNS breaks its reasons in two.
    own = {"UV_TORCH_BACKEND": "", "COLUMNS": ""}
    added = Step(
        (*install, *(word for file in overrides for word in ("--override", str(file))), *pins, *extra),
        f"install {', '.join(extra)}, without hashes",
        own,
    )
    return [
        Step((uv, "venv", "--python", interpreter, str(environment.folder)), f"make {environment.folder}"),
        Step(tested, f"install {len(pinned(environment)) - len(excluded)} packages", own),
        *([added] if extra else []),
        check_step(environment, environment.python),
    ]


def check_step(environment: Environment, python: Path) -> Step:
    module = environment.engine.check
    return Step((str(python), "-c", f"import {module}"), f"import {module}", {"OMP_NUM_THREADS": "1", "PYTHONPATH": ""})


def versions_step(python: Path) -> Step:
    """What prints the packages of an interpreter as one JSON object."""
    return Step((str(python), "-c", _LIST_VERSIONS), "list its packages", {"PYTHONPATH": ""})


def differences(environment: Environment, found: Mapping[str, str]) -> list[str]:
    """Where an interpreter's packages are not the tested ones: `torch 2.12.0 instead of 2.13.0`.

    Only packages that the `.in` files name: the rest follows from them.
    """
    tested = pinned(environment)
    named = sorted(_named(environment.pins.with_suffix(".in")) & tested.keys())
    return [
        f"{name} {found.get(name, 'missing')} instead of {tested[name]}"
        for name in named
        if found.get(name, "").split("+")[0] != tested[name]
    ]


def mixed_builds(found: Mapping[str, str]) -> str | None:
    """Which packages of an interpreter are compiled against another build of torch; a clause, None where none is.

    On Linux the builds of PyPI are for CUDA, and those for CPUs have `+cpu` in their versions.
    """
    torch = found.get("torch", "")
    others = [name for name in _OF_TORCH if found.get(name) and ("+cpu" in found[name]) != ("+cpu" in torch)]
    if not torch or not others:
        return None
    listed = ", ".join(f"{name} {found[name]}" for name in others)
    one, other = ("a CPU", "CUDA") if "+cpu" in torch else ("CUDA", "a CPU")
    return f"torch {torch} is built for {one}, and for {other} {listed}"


def check_machine(environment: Environment, driver: Path = DRIVER) -> None:
    """Raises SetupError: not Linux on x86-64, too little disk, or a driver that does not run the pinned CUDA."""
    if sys.platform != "linux":
        raise SetupError("engines run on Linux only", "virc solve and virc data run here")
    if platform.machine().lower() not in _X86_64:
        sentence = f"the pinned packages are for x86-64, and this processor is {platform.machine()}"
        hint = f"install the engine yourself, then: virc env use {environment.engine.name} PYTHON"
        raise SetupError(sentence, hint)
    needed = environment.engine.gib[environment.device]
    place = next(each for each in (environment.folder, *environment.folder.parents) if each.exists())
    free = shutil.disk_usage(place).free / 2**30
    if free < needed + 1:
        sentence = f"{environment.name} needs about {needed} GiB, and {free:.1f} are free at {environment.folder}"
        raise SetupError(sentence, "make room, or move virc's cache with VIRC_CACHE")
    branch, wanted = driver_branch(driver), driver_needed(environment)
    if wanted and branch is not None and branch < wanted:
        raise SetupError(
            f"the NVIDIA driver is {branch}, and {environment.name} needs {wanted} or newer",
            "ask for a newer driver, or register an environment of your own: virc env use",
        )


def driver_branch(driver: Path = DRIVER) -> int | None:
    """The branch of the loaded NVIDIA driver, such as 580; None where there is none or it does not say."""
    try:
        found = re.search(r"\s(\d{3,4})\.\d+", contents(driver, 2**16).decode("utf-8", "replace"))
    except OSError:
        return None
    return int(found[1]) if found else None


def registered(environment: Environment) -> Path | None:
    if not is_path(environment.registration):
        return None
    hint = f"virc env remove {environment.engine.name} --device {environment.device}"
    return Path(read_json(environment.registration, Registered, 2**16, hint).python)


def interpreter(environment: Environment) -> Path | None:
    """The registered interpreter, else the one made here."""
    return registered(environment) or (environment.python if environment.marker.exists() else None)


def recipes_in(environment: Environment, package: Path = _PACKAGE) -> Path:
    """The folder that puts this package and published systems, and nothing else, on an engine's path; copied when new.

    Our own site-packages would shadow the engine's pins. The name holds a hash of the code, so that a run keeps the
    code it began with. Copied atomically; weights stay out.
    """
    whole = recipes_place(environment, package)
    if not whole.exists():
        whole.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{whole.name}.", dir=whole.parent))
        try:
            for name, content in _code(package):
                target = partial / name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)
            partial.chmod(0o755)
            with suppress(OSError):  # another run put the same code there meanwhile
                partial.rename(whole)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return whole


def recipes_place(environment: Environment, package: Path = _PACKAGE) -> Path:
    """Where `recipes_in` puts this code, or has put it; the name is a hash of it."""
    digest = hashlib.sha256()
    for name, content in _code(package):
        digest.update(f"{name}\0".encode() + content + b"\0")
    return environment.folder.parent / "recipes" / digest.hexdigest()[:16]


def removable(environment: Environment) -> list[Path]:
    """Every folder of that engine and device in the cache, those of former pins too, and the registration."""
    folder = environment.folder.parent
    found = [path for path in folder.glob(f"{environment.name}-*") if re.fullmatch(r".*-[0-9a-f]{10}", path.name)]
    return sorted(found) + [file for file in (environment.registration, environment.record) if file.exists()]


def as_row(environment: Environment) -> dict[str, Any]:
    own = registered(environment)
    state = "registered" if own else "ready" if environment.marker.exists() else "not made"
    return {
        "engine": environment.engine.name, "device": environment.device, "what": environment.engine.what,
        "state": state, "python": str(interpreter(environment) or ""),
        "gib": environment.engine.gib[environment.device], "with": list(environment.extra),
    }  # fmt: skip


def _named(file: Path) -> set[str]:
    names: set[str] = set()
    for line in file.read_text(encoding="utf-8").splitlines():
        if line.startswith("-r "):
            names |= _named(file.with_name(line[3:].strip()))
        elif match := re.match(r"[\w.-]+", line):
            names.add(match[0].lower().replace("_", "-"))
    return names


def _code(package: Path) -> Iterator[tuple[str, bytes]]:
    """The files of the copy of a package by their names in it; that of this one has published systems and extras."""
    folders = {package: package.name}
    if package == _PACKAGE:
        own = {folder: name for folder, name in plugins.system_packages().items() if any(folder.glob("*/system.yaml"))}
        folders |= {folder: name.replace(".", "/") for folder, name in own.items()}
        extras = (Path(entry_points.source(name) or name).parent for name in sorted(entry_points.own_packages()))
        folders |= {folder: folder.name for folder in extras if folder not in folders}
        yield f"{_METADATA}/METADATA", b"Metadata-Version: 2.1\nName: virc-systems\nVersion: 0\n"
        yield f"{_METADATA}/entry_points.txt", "\n".join(_entries(own.values())).encode()
    for folder, name in folders.items():
        for file in _files(folder, _COPIED if folder == package else _OF_SYSTEMS):
            yield f"{name}/{file.relative_to(folder).as_posix()}", file.read_bytes()


def _entries(systems: Iterable[str]) -> Iterator[str]:
    """The lines of the copy's entry points: systems, and the tools, rewards and operators of extras."""
    yield "[virc.systems]"
    yield from (f"{number} = {name}" for number, name in enumerate(systems))
    for group in get_args(entry_points.Group):
        if group not in ("virc.systems", "virc.commands"):
            yield f"[{group}]"
            yield from (f"{name} = {module}" for name, module in entry_points.own(group).items())


def _files(package: Path, suffixes: Collection[str]) -> list[Path]:
    weights = {config.parent for config in package.glob("models/*/config.json")}
    found: list[Path] = []
    for folder, folders, names in os.walk(package):
        here = Path(folder)
        folders[:] = [name for name in folders if here / name not in weights]
        found += [here / name for name in names if Path(name).suffix in suffixes]
    return sorted(file for file in found if file.is_file())
