"""How an engine's environment is made, checked and found; nothing here starts a process."""

import hashlib
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from virc.config.user import home
from virc.core.errors import ConfigError, SetupError
from virc.core.files import contents, expanded
from virc.core.plan import Step
from virc.core.text import clause
from virc.envs.pins import PYTHON, Device, Environment, driver_needed, pinned

_INSTEAD = "VIRC_CACHE=FOLDER"
_PACKAGE = Path(__file__).parents[1]
DRIVER = Path("/proc/driver/nvidia/version")
_COPIED = {".py", ".yaml", ".json"}
_LIST_VERSIONS = (
    "import json; from importlib.metadata import distributions as d; "
    "print(json.dumps({x.name.lower().replace('_', '-'): x.version for x in d()}))"
)


class Registered(msgspec.Struct, frozen=True):
    """An interpreter that a user registered for an engine."""

    python: str


def cache_folder(env: Mapping[str, str], platform: str = sys.platform) -> Path:
    """This user's cache: `VIRC_CACHE`, else `virc` in the platform's folder for caches.

    Raises:
        ConfigError: this user has no home folder, and no variable names another.
    """
    if env.get("VIRC_CACHE"):
        return expanded(env["VIRC_CACHE"]).absolute()
    if platform == "win32":
        return Path(env.get("LOCALAPPDATA") or home(env, _INSTEAD) / "AppData" / "Local") / "virc" / "Cache"
    if platform == "darwin":
        return home(env, _INSTEAD) / "Library" / "Caches" / "virc"
    given = Path(env.get("XDG_CACHE_HOME", ""))
    return (given if given.is_absolute() else home(env, _INSTEAD) / ".cache") / "virc"


def default_device(driver: Path = DRIVER) -> Device:
    """`cuda` where an NVIDIA driver is loaded, else `cpu`."""
    return "cuda" if driver.exists() else "cpu"


def steps(environment: Environment, uv: str) -> list[Step]:
    """What makes the environment: an interpreter, the pinned packages, and the import that shows they fit."""
    same = sys.version_info[:2] == tuple(map(int, PYTHON.split(".")))
    interpreter = sys.executable if same else PYTHON
    override = ("--override", str(environment.override)) if environment.override.exists() else ()
    # Compiled once here, or every start of the engine would compile a thousand files again.
    install = (
        uv, "pip", "install", "--python", str(environment.python), "--compile-bytecode", *override,
        "-r", str(environment.pins), *environment.extra,
    )  # fmt: skip
    more = f" and {', '.join(environment.extra)}" if environment.extra else ""
    return [
        Step((uv, "venv", "--python", interpreter, str(environment.folder)), f"make {environment.folder}"),
        Step(install, f"install {len(pinned(environment))} packages{more}"),
        check_step(environment, environment.python),
    ]


def check_step(environment: Environment, python: Path) -> Step:
    """The import that matters, in an interpreter."""
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


def check_machine(environment: Environment, driver: Path = DRIVER) -> None:
    """Refuse before anything is downloaded what cannot work here.

    Raises:
        SetupError: not Linux, too little disk, or a driver that does not run the pinned CUDA.
    """
    if sys.platform != "linux":
        raise SetupError("engines run on Linux only", "virc solve and virc data run here")
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
    """The interpreter that a user registered for it.

    Raises:
        ConfigError: the registration cannot be read.
    """
    try:
        return Path(msgspec.json.decode(contents(environment.registration, 2**16), type=Registered).python)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError) as error:
        hint = f"virc env remove {environment.engine.name} --device {environment.device}"
        raise ConfigError(f"{environment.registration} cannot be read: {clause(error)}", hint) from error


def interpreter(environment: Environment) -> Path | None:
    """The interpreter to start the engine with: the registered one, else the one made here; None where neither is."""
    return registered(environment) or (environment.python if environment.marker.exists() else None)


def recipes_in(environment: Environment, package: Path = _PACKAGE) -> Path:
    """The folder that puts this package, and nothing else of ours, on an engine's path; copied when its code is new.

    Our own site-packages would shadow the engine's pins. The name holds a hash of the code, so that a run keeps the
    code it began with. Copied atomically; weights stay out.
    """
    files = _code(package)
    whole = recipes_place(environment, package)
    if not whole.exists():
        whole.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{whole.name}.", dir=whole.parent))
        try:
            for file in files:
                target = partial / package.name / file.relative_to(package)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, target)
            partial.chmod(0o755)
            with suppress(OSError):  # another run put the same code there meanwhile
                partial.rename(whole)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return whole


def recipes_place(environment: Environment, package: Path = _PACKAGE) -> Path:
    """Where `recipes_in` puts this code, or has put it; the name is a hash of it."""
    digest = hashlib.sha256()
    for file in _code(package):
        digest.update(f"{file.relative_to(package)}\0".encode() + file.read_bytes() + b"\0")
    return environment.folder.parent / "recipes" / digest.hexdigest()[:16]


def removable(environment: Environment) -> list[Path]:
    """Every folder of that engine and device in the cache, those of former pins too, and the registration."""
    folder = environment.folder.parent
    found = [path for path in folder.glob(f"{environment.name}-*") if re.fullmatch(r".*-[0-9a-f]{10}", path.name)]
    return sorted(found) + [file for file in (environment.registration, environment.record) if file.exists()]


def as_row(environment: Environment) -> dict[str, Any]:
    """What `virc env ls` prints of it."""
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


def _code(package: Path) -> list[Path]:
    weights = {config.parent for config in package.glob("models/*/config.json")}
    found: list[Path] = []
    for folder, folders, names in os.walk(package):
        here = Path(folder)
        folders[:] = [name for name in folders if here / name not in weights]
        found += [here / name for name in names if Path(name).suffix in _COPIED]
    return sorted(file for file in found if file.is_file())
