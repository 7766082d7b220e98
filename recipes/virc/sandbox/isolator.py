"""How the process of the sandbox is cut off from this machine: by bubblewrap and a filter of system calls.

The process sees the interpreter, the packages that it may import, the system's shared libraries and a folder in memory
of its own. There is no network, no `/proc`, no program beside the interpreter, and no variable of the environment.
"""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import msgspec

from virc.core.errors import SetupError, VircError
from virc.core.text import clause
from virc.sandbox import packages, seccomp

UNSAFE = "VIRC_UNSAFE_PYTHON"
"""The variable that lets code of models run without a sandbox, where it is 1."""
FOLDER = "/work"
"""The folder of the code, inside the sandbox."""
PRELOADED = ("numpy", "PIL.Image")
_HINT = "apt install bubblewrap libseccomp2"
_RUNNER = Path(__file__).with_name("runner.py")
_FLAGS = ("-s", "-S", "-P", "-B")
_ISOLATED = (
    "--unshare-user", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try",
    "--disable-userns",
)  # fmt: skip
_ENVIRONMENT: Mapping[str, str] = {
    "LANG": "C.UTF-8", "MPLBACKEND": "Agg", "PYTHONHASHSEED": "0", "PYTHONUTF8": "1",
    "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENCV_FOR_THREADS_NUM": "1",
}  # fmt: skip


class Machine(msgspec.Struct, frozen=True):
    """What a process of the sandbox gets of this machine.

    Args:
        memory_mib: address space, in MiB.
        disk_mib: of its folder, in MiB.
        packages: distributions that it may import.
    """

    memory_mib: int
    disk_mib: int
    packages: tuple[str, ...]


def unsafe() -> bool:
    """Whether the user lets code run without a sandbox."""
    return os.environ.get(UNSAFE) == "1"


def check() -> None:
    """Refuse to run code where it cannot be isolated.

    Raises:
        SetupError: what is missing, and what helps.
    """
    if unsafe():
        return
    if sys.platform != "linux":
        raise SetupError(
            f"the tool python has no sandbox on {sys.platform}: it needs Linux",
            f"{UNSAFE}=1 lets the model's code do all that you can do",
        )
    if not shutil.which("bwrap"):
        raise SetupError("the tool python needs bubblewrap for its sandbox, and there is no bwrap on the PATH", _HINT)
    if seccomp.library() is None:
        raise SetupError("the tool python needs libseccomp.so.2 for its sandbox, which is not installed", _HINT)


def trouble() -> str | None:
    """Why code cannot be isolated on this machine; None where it can, which is tried."""
    if unsafe():
        return f"{UNSAFE} is set"
    try:
        check()
        subprocess.run(
            [shutil.which("bwrap") or "bwrap", *_ISOLATED, "--ro-bind", "/", "/", "true"],
            check=True, capture_output=True, timeout=10,
        )  # fmt: skip
    except VircError as error:
        return error.message
    except subprocess.CalledProcessError as error:
        words = error.stderr.decode("utf-8", "replace").strip().splitlines()
        return words[-1] if words else f"bwrap ends with exit code {error.returncode}"
    except (OSError, subprocess.TimeoutExpired) as error:
        return clause(error)
    return None


def command(machine: Machine, filter_fd: int, info_fd: int) -> list[str]:
    """The command that starts the runner inside the sandbox.

    Args:
        machine: what it gets.
        filter_fd: open file that the filter of system calls is read from.
        info_fd: open file that bubblewrap writes the id of the process to, as JSON.
    """
    allowed = packages.installed(machine.packages)
    bound = [part for path in allowed for part in ("--ro-bind", str(path), f"/packages/{path.name}")]
    variables = {**_ENVIRONMENT, "HOME": FOLDER, "TMPDIR": FOLDER, "MPLCONFIGDIR": f"{FOLDER}/.matplotlib"}
    # fmt: off
    return [
        shutil.which("bwrap") or "bwrap",
        *_ISOLATED, "--uid", "65534", "--gid", "65534", "--hostname", "sandbox", "--cap-drop", "ALL",
        "--die-with-parent", "--new-session", "--as-pid-1", "--clearenv",
        *(part for name, value in variables.items() for part in ("--setenv", name, value)),
        *_interpreter(), *_libraries(), "--dir", "/packages", *bound, "--ro-bind", str(_RUNNER), "/runner.py",
        *_devices(),
        "--size", str(machine.disk_mib * 2**20), "--tmpfs", FOLDER, "--symlink", FOLDER, "/tmp",
        "--remount-ro", "/", "--chdir", FOLDER,
        "--seccomp", str(filter_fd), "--info-fd", str(info_fd),
        "/python/bin/python", *_FLAGS, "/runner.py", _settings(machine, FOLDER, ["/packages"]),
    ]
    # fmt: on


def unsafe_command(machine: Machine, folder: Path) -> list[str]:
    """The command that starts the runner without a sandbox, in a folder of its own."""
    places = list(dict.fromkeys(str(path.parent) for path in packages.installed(machine.packages)))
    return [sys.executable, *_FLAGS, str(_RUNNER), _settings(machine, str(folder), places)]


def unsafe_environment(folder: Path) -> dict[str, str]:
    """The environment of the runner without a sandbox."""
    return {**_ENVIRONMENT, "HOME": str(folder), "TMPDIR": str(folder), "MPLCONFIGDIR": str(folder / ".matplotlib")}


def _settings(machine: Machine, folder: str, places: Sequence[str]) -> str:
    limits = {"memory": machine.memory_mib * 2**20, "file": machine.disk_mib * 2**20}
    own = {"folder": folder, "packages": list(places), "preloaded": PRELOADED, "unsafe": folder != FOLDER}
    return json.dumps({**own, **limits})


def _devices() -> list[str]:
    return [part for name in ("null", "zero", "urandom", "random") for part in ("--dev-bind", *[f"/dev/{name}"] * 2)]


@cache
def _interpreter() -> tuple[str, ...]:
    """The interpreter and its standard library, without the packages that are installed into it."""
    base, library = Path(sys.base_prefix), Path(sysconfig.get_path("stdlib"))
    executable = os.path.realpath(sys.executable)
    inside = Path("/python") / library.relative_to(base)
    bound = ["--ro-bind", executable, "/python/bin/python", "--ro-bind", str(library), str(inside)]
    for name in ("site-packages", "dist-packages"):
        if (library / name).is_dir():
            bound += ["--tmpfs", str(inside / name)]
    if base != Path("/usr"):  # shared libraries of its own: of Python itself, and in conda of all else
        own = sorted(path for path in (base / "lib").glob("*.so*") if path.is_file())
        bound += [part for path in own for part in ("--ro-bind", str(path), f"/python/lib/{path.name}")]
        bound += ["--setenv", "LD_LIBRARY_PATH", "/python/lib"] if own else []
    return tuple(bound)


@cache
def _libraries() -> tuple[str, ...]:
    """The system's shared libraries."""
    bound: list[str] = []
    for place in map(Path, ("/lib", "/lib32", "/lib64")):
        if place.is_symlink():
            bound += ["--symlink", str(place.readlink()), str(place)]
        elif place.is_dir():
            bound += ["--ro-bind", str(place), str(place)]
    several = sysconfig.get_config_var("MULTIARCH")
    places = [Path("/usr/lib") / several] if several else []
    places = [place for place in (*places, Path("/usr/lib64")) if place.is_dir() and not place.is_symlink()]
    return (*bound, *(part for place in places or [Path("/usr/lib")] for part in ("--ro-bind", str(place), str(place))))
