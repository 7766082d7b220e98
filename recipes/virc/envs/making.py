"""Creates, registers and removes the environments of the engines."""

import json
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from virc.config import user
from virc.core import processes
from virc.core.errors import EngineError, SetupError
from virc.core.events import OnEvent, Reporter
from virc.core.extras import install
from virc.core.files import write_whole
from virc.core.locks import held
from virc.core.plan import Step
from virc.envs import environment as environments
from virc.envs.pins import Environment, discover, everywhere, get, requirement

_LOOK = 0.2  # seconds


def find(engine: str, device: str | None) -> Environment:
    """The environment of an engine in this user's cache; the device is the best found where none is named."""
    only = list(discover()[engine].gib) if engine in discover() else []
    best = only[0] if len(only) == 1 else environments.default_device()
    return get(engine, device or best, user.cache_folder(os.environ))


def all_rows() -> list[dict[str, Any]]:
    return [environments.as_row(each) for each in everywhere(user.cache_folder(os.environ))]


def with_packages(environment: Environment, packages: Iterable[str]) -> Environment:
    """The same environment with further packages, in another folder; they are remembered once it is made."""
    cache = user.cache_folder(os.environ)
    return get(environment.engine.name, environment.device, cache, [*map(requirement, packages)])


def create(environment: Environment, on_event: OnEvent | None = None) -> None:
    """Make an environment, whole or not at all; what a killed run left is cleared first.

    Raises:
        SetupError: it cannot work on this machine.
        EngineError: a package could not be installed, or the import that matters fails.
        ConfigError: another run is making it.
    """
    if environment.marker.exists():
        return
    try:
        from uv import find_uv_bin
    except ImportError:
        raise SetupError("making an environment needs the package uv", install("train")) from None
    environments.check_machine(environment)
    environment.folder.parent.mkdir(parents=True, exist_ok=True)
    log = log_of(environment)
    with held(environment.folder):
        if environment.marker.exists():
            return
        shutil.rmtree(environment.folder, ignore_errors=True)
        log.unlink(missing_ok=True)
        engine, report = environment.engine, Reporter(on_event)
        size = engine.gib[environment.device]
        report.note(f"making the environment of {engine.what}, about {size} GiB, in {environment.folder}")
        try:
            *installing, check = environments.steps(environment, find_uv_bin())
            for step in installing:
                _run(step, log, report)
            with _explained(environment.python):
                _run(check, log, report)
            if environment.extra:
                write_whole(environment.record, "".join(f"{each}\n" for each in environment.extra).encode())
            made_of = {"pins": environment.pins.name, "with": list(environment.extra)}
            environment.marker.write_text(json.dumps(made_of) + "\n")
        except BaseException:
            shutil.rmtree(environment.folder, ignore_errors=True)
            raise


def _run(step: Step, log: Path, report: Reporter) -> None:
    """Run a step; what it writes goes to `log` and is reported, with the time that has passed."""
    report.note(step.says)
    began, last, begins = time.monotonic(), "", log.stat().st_size if log.exists() else 0
    with processes.started(step, log) as process, log.open(encoding="utf-8", errors="replace") as written:
        written.seek(begins)
        written.readline()  # the command
        code: int | None = None
        while code is None:
            code = process.wait(_LOOK)
            for line in written.read().splitlines():
                report.log(line)
                last = line.strip() or last
            report.progress(f"{step.says}: {time.monotonic() - began:.0f} s  {last}")
    if code:
        why = processes.last_words(log, code)
        links = "no hashes" in why and os.environ.get("UV_FIND_LINKS")  # its builds come before those that are pinned
        raise EngineError(f"could not {step.says}: {why}", f"unset UV_FIND_LINKS ({links})" if links else f"see {log}")


@contextmanager
def _explained(python: Path) -> Iterator[None]:
    """Add to the error of an import that builds of torch for other devices are the cause, where they are."""
    try:
        yield
    except EngineError as error:
        if mixed := environments.mixed_builds(_versions(python)):
            raise EngineError(
                f"{error.message}; {mixed}", error.hint or "install all of them from one index"
            ) from error
        raise


def _versions(python: Path) -> dict[str, str]:
    try:
        found: dict[str, str] = json.loads(processes.output(environments.versions_step(python)))
    except ValueError as error:
        raise EngineError(f"{python} does not list its packages: is it a Python interpreter?") from error
    return found


def register(environment: Environment, python: Path) -> list[str]:
    """Raises EngineError: it does not run, or the import that matters fails in it."""
    path = python.absolute()  # not resolved: the link is what makes a virtual environment
    versions = _versions(path)
    with _explained(path):
        processes.output(environments.check_step(environment, path))
    write_whole(environment.registration, json.dumps({"python": str(path)}).encode() + b"\n")
    return environments.differences(environment, versions)


def remove(environment: Environment) -> list[Path]:
    """Remove what there is of an environment and its former pins; a registered interpreter itself stays."""
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


def made(environment: Environment, on_event: OnEvent | None = None) -> Path:
    """The interpreter of an environment, which is created first where it is missing."""
    if environments.interpreter(environment) is None:
        create(environment, on_event)
    return ready(environment)


def ready(environment: Environment) -> Path:
    """Raises SetupError: it was neither made nor registered."""
    python = environments.interpreter(environment)
    if python is None:
        hint = f"virc env create {environment.engine.name} --device {environment.device}"
        raise SetupError(f"the environment {environment.name} has not been made", hint)
    return python


def log_of(environment: Environment) -> Path:
    return environment.folder.with_name(f"{environment.name}.log")
