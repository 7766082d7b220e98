"""Environments of the engines: one YAML an engine, and one fully pinned requirement file for each of its devices.

An engine never shares our environment: its versions exclude ours. `ENGINE-DEVICE.txt` is made from `.in` by
`python -m virc.envs.lock`.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Literal, get_args

import msgspec

from virc.core.errors import ConfigError, UsageError
from virc.core.files import contents
from virc.core.text import clause, did_you_mean

Device = Literal["cpu", "cuda"]
DEVICES: tuple[Device, ...] = get_args(Device)
MARKER = "virc_env.json"
PYTHON = "3.11"
"""Version of Python the pins are resolved for: the oldest that virc runs on."""

FOLDER = Path(__file__).parent
ADDED = FOLDER / "added.override"
"""Versions that stand against what packages ask for that a user adds to an environment."""
BUILT: Mapping[str, str] = {
    "antlr4-python3-runtime": "its version 4 has no wheel at the versions that hydra and latex2sympy2 need",
    "deepspeed": "publishes no wheel; without DS_BUILD_OPS nothing is compiled",
    "zss": "publishes no wheel; it is Python alone",
}
"""Packages that are installed from a source distribution, and why; of all others only wheels are."""
_DRIVERS = {12: 525, 13: 580}
"""CUDA -> the oldest driver branch that runs it (NVIDIA, CUDA compatibility)."""


class Engine(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an environment is for.

    Args:
        what: the engine and its version, to be read by people.
        check: the module whose import says whether the environment works.
        gib: room on disk by device, about; it runs on these devices alone.
    """

    name: str
    what: str
    check: str
    gib: Mapping[Device, int]


class Environment(msgspec.Struct, frozen=True):
    """One engine's environment for one device, made or not.

    Args:
        folder: where it is made; the name holds a hash of its pins, so that new pins make a new one.
        extra: packages that the user wants in it with the pinned ones (`virc env create --with PKG`).
    """

    engine: Engine
    device: Device
    folder: Path
    extra: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.engine.name}-{self.device}"

    @property
    def pins(self) -> Path:
        return FOLDER / f"{self.name}.txt"

    @property
    def override(self) -> Path:
        """Versions that stand against what packages ask for; the file is there where they are needed."""
        return FOLDER / f"{self.name}.override"

    @property
    def excludes(self) -> Path:
        """Pinned packages that are left out; the file is there where there are some.

        Neither the folder's name nor a record depends on it: an environment that has them works the same.
        """
        return FOLDER / "excludes" / f"{self.name}.txt"

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    @property
    def marker(self) -> Path:
        """The file that appears when it is made and checked; without it the folder is a leftover."""
        return self.folder / MARKER

    @property
    def registration(self) -> Path:
        return self.folder.with_name(f"{self.name}.json")

    @property
    def record(self) -> Path:
        """The file that lists `extra`, one requirement a line."""
        return self.folder.with_name(f"{self.name}.with")


@cache
def discover() -> Mapping[str, Engine]:
    files = sorted(FOLDER.glob("*.yaml"))
    return {file.stem: msgspec.yaml.decode(file.read_bytes(), type=Engine) for file in files}


def get(engine: str, device: str, cache_folder: Path, more: Iterable[str] = ()) -> Environment:
    """The environment of an engine on a device; it holds the packages `more` and those that are remembered.

    Raises:
        ConfigError: there is no such engine or device, or the file of added packages cannot be read.
    """
    if engine not in discover():
        hint = did_you_mean(engine, discover(), f"engines are {', '.join(discover())}")
        raise ConfigError(f"there is no engine {engine!r}", hint)
    named = next((known for known in DEVICES if known == device), None)
    if named is None:
        hint = did_you_mean(device, DEVICES, f"devices are {', '.join(DEVICES)}")
        raise ConfigError(f"there is no device {device!r} for engines", hint)
    if named not in discover()[engine].gib:
        raise ConfigError(f"the engine {engine} has no environment for {named}", "leave «--device» away")
    digest = hashlib.sha256()
    for file in (FOLDER / f"{engine}-{named}.txt", FOLDER / f"{engine}-{named}.override"):
        digest.update(file.read_bytes() if file.exists() else b"")
    record = cache_folder / "envs" / f"{engine}-{named}.with"
    try:
        recorded = contents(record, 2**16).decode().split()
    except FileNotFoundError:
        recorded = []
    except (OSError, ValueError) as error:
        raise ConfigError(f"{record} cannot be read: {clause(error)}") from error
    extra = tuple(sorted({*recorded, *more}))
    digest.update("\n".join(extra).encode())
    folder = cache_folder / "envs" / f"{engine}-{named}-{digest.hexdigest()[:10]}"
    return Environment(discover()[engine], named, folder, extra)


def everywhere(cache_folder: Path) -> list[Environment]:
    return [get(engine, device, cache_folder) for engine, what in discover().items() for device in what.gib]


def requirement(text: str) -> str:
    """Raises UsageError: it is a file, an address, an option or something else that names no package."""
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*(\[[\w,.-]+\])?((==|>=|<=|~=|!=|<|>)[\w.*+!-]+)?", text):
        raise UsageError(f"«--with {text[:60]!r}» is no package", "«--with NAME» or «--with NAME==VERSION»")
    return text


def pinned(environment: Environment) -> dict[str, str]:
    lines = environment.pins.read_text(encoding="utf-8").splitlines()
    found = (re.match(r"([\w.-]+)(?:\[[^]]*\])?==(\S+)", line) for line in lines)
    return {match[1].lower().replace("_", "-"): match[2] for match in found if match}


def left_out(environment: Environment) -> list[str]:
    if not environment.excludes.exists():
        return []
    lines = environment.excludes.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if not line.startswith("#")]


def driver_needed(environment: Environment) -> int | None:
    """The oldest NVIDIA driver branch that runs the pinned CUDA; None without CUDA."""
    versions = pinned(environment)
    toolkit = versions.get("cuda-toolkit") or versions.get("nvidia-cuda-runtime-cu12")
    if environment.device == "cpu" or toolkit is None:
        return None
    return _DRIVERS.get(int(toolkit.split(".")[0]))
