"""Creates, registers and removes the engines' environments."""

import json
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from virc.core import processes
from virc.core.errors import EngineError, SetupError
from virc.core.files import write_whole
from virc.core.locks import held
from virc.envs import environment as environments
from virc.envs.pins import Environment, discover, everywhere, get, requirement


def find(engine: str, device: str | None) -> Environment:
    """The environment of an engine in this user's cache; the device is the best found where none is named."""
    only = list(discover()[engine].gib) if engine in discover() else []
    best = only[0] if len(only) == 1 else environments.default_device()
    return get(engine, device or best, environments.cache_folder(os.environ))


def all_rows() -> list[dict[str, Any]]:
    """What is said of every environment, made or not."""
    return [environments.as_row(each) for each in everywhere(environments.cache_folder(os.environ))]


def with_packages(environment: Environment, packages: Iterable[str]) -> Environment:
    """The same environment with further packages: its folder is another one. They are remembered once it is made.

    Raises:
        UsageError: one is no package.
    """
    cache = environments.cache_folder(os.environ)
    return get(environment.engine.name, environment.device, cache, [*map(requirement, packages)])


def create(environment: Environment, on_progress: Callable[[str], None] = lambda _: None) -> None:
    """Make an environment, whole or not at all; what a killed run left is cleared first.

    Raises:
        SetupError: it cannot work on this machine.
        EngineError: a package could not be installed, or the import that matters fails.
        ConfigError: another run is making it.
    """
    from uv import find_uv_bin

    environments.check_machine(environment)
    environment.folder.parent.mkdir(parents=True, exist_ok=True)
    log = log_of(environment)
    with held(environment.folder):
        if environment.marker.exists():
            return
        shutil.rmtree(environment.folder, ignore_errors=True)
        log.unlink(missing_ok=True)
        try:
            for step in environments.steps(environment, find_uv_bin()):
                on_progress(step.says)
                processes.run(step, log)
            _remember(environment)
            made_of = {"pins": environment.pins.name, "with": list(environment.extra)}
            environment.marker.write_text(json.dumps(made_of) + "\n")
        except BaseException:
            shutil.rmtree(environment.folder, ignore_errors=True)
            raise


def _remember(environment: Environment) -> None:
    """Note the user's own packages, once it has turned out that they can be installed."""
    if environment.extra:
        write_whole(environment.record, "".join(f"{each}\n" for each in environment.extra).encode())


def register(environment: Environment, python: Path) -> list[str]:
    """Let somebody's own interpreter stand for an environment; returns where its versions differ from the tested.

    Raises:
        EngineError: it does not run, or the import that matters fails in it.
    """
    path = python.absolute()  # not resolved: the link is what makes a virtual environment
    try:
        versions = json.loads(processes.output(environments.versions_step(path)))
    except ValueError as error:
        raise EngineError(f"{python} does not list its packages: is it a Python interpreter?") from error
    processes.output(environments.check_step(environment, path))
    write_whole(environment.registration, json.dumps({"python": str(path)}).encode() + b"\n")
    return environments.differences(environment, versions)


def remove(environment: Environment) -> list[Path]:
    """Remove what there is of an environment and its former pins; a registered interpreter itself stays.

    Raises:
        ConfigError: another run is making it.
    """
    environment.folder.parent.mkdir(parents=True, exist_ok=True)
    with held(environment.folder):
        found = environments.removable(environment)
        for path in found:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
    log_of(environment).unlink(missing_ok=True)
    return found


def made(environment: Environment, on_progress: Callable[[str], None] = lambda _: None) -> Path:
    """The interpreter of an environment, which is created first where it is missing.

    Args:
        on_progress: gets one line for each step, the size of the environment first.

    Raises:
        SetupError: it cannot work on this machine.
        EngineError: it could not be made.
    """
    if environments.interpreter(environment) is None:
        size = environment.engine.gib[environment.device]
        what = environment.engine.what
        on_progress(f"making the environment of {what}, about {size} GiB, in {environment.folder}")
        create(environment, on_progress)
    return ready(environment)


def ready(environment: Environment) -> Path:
    """The interpreter of an environment that was made or registered.

    Raises:
        SetupError: it was not.
    """
    python = environments.interpreter(environment)
    if python is None:
        hint = f"virc env create {environment.engine.name} --device {environment.device}"
        raise SetupError(f"the environment {environment.name} has not been made", hint)
    return python


def log_of(environment: Environment) -> Path:
    """What the making of it wrote."""
    return environment.folder.with_name(f"{environment.name}.log")
