"""Stops runs: signals to processes of this machine, `scancel` for those of a cluster's job."""

import os
import shutil
import signal
import time

from virc.core import processes
from virc.core.errors import ConfigError, SetupError
from virc.core.plan import Step
from virc.runs import run as runs
from virc.runs.run import Run, State
from virc_cli.console.run_lines import ended
from virc_cli.training import remains

_EVERY = 0.2  # seconds between two looks
_JOB = 70.0  # seconds that a Ray job gets to end


def ask(run: Run, state: State) -> None:
    """Ask a running attempt to save and end.

    Raises:
        ConfigError: it is not running, or runs where this machine cannot reach it.
        SetupError: it is another user's.
    """
    if state.progress != "running":
        raise _not_running(run, state)
    if runs.here(state):
        _signal(run, state.pid, signal.SIGTERM)
    else:
        _scancel(run, state, "--batch", "--signal=TERM")  # USR1 would put the job back into the queue


def kill(run: Run, state: State) -> None:
    """End an attempt and its engine at once, also an engine whose attempt died.

    Raises:
        ConfigError, SetupError: as `ask`.
    """
    if not runs.here(state) and state.progress == "running":
        _scancel(run, state)
        return
    engine = state.engine if runs.engine_lives(state) else None
    if state.progress != "running" and engine is None:
        raise _not_running(run, state)
    if state.progress == "running":  # first, or it would say that its engine failed
        _signal(run, state.pid, signal.SIGKILL)
    if engine is not None:
        _end_job(run, state)
        processes.kill(engine)
    remains.clear(run)
    _wait_for_processes(state)
    runs.write_state(run, progress="stopped", pid=None, engine=None)


def _end_job(run: Run, state: State) -> None:
    """What runs on a Ray cluster is ended by the process here that handed it over, which must live until it has."""
    if runs.info(run).launcher != "ray":
        return
    _signal(run, state.engine, signal.SIGTERM)
    end = time.monotonic() + _JOB
    while runs.engine_lives(state) and time.monotonic() < end:
        time.sleep(_EVERY)


def wait(run: Run) -> State:
    """Wait until a run goes on no longer; returns how it ended."""
    while (state := runs.state(run)).progress == "running":
        time.sleep(_EVERY)
    return state


def _wait_for_processes(state: State) -> None:
    while runs.there(state.pid, state.started) or runs.engine_lives(state):
        time.sleep(_EVERY)


def _signal(run: Run, pid: int | None, number: signal.Signals) -> None:
    assert pid is not None  # a state that is `running` on this machine has one
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass
    except PermissionError:
        raise SetupError(f"{run.name} is run by another user, as process {pid}") from None


def _scancel(run: Run, state: State, *options: str) -> None:
    if state.job is None:
        raise ConfigError(f"{run.name} runs on {state.host}", f"there: virc runs stop {run.name}")
    words = ("scancel", *options, state.job)
    if shutil.which("scancel") is None:
        raise ConfigError(f"{run.name} runs on {state.host} in the job {state.job}", " ".join(words))
    processes.output(Step(words, f"stop the job {state.job}"))


def _not_running(run: Run, state: State) -> ConfigError:
    if runs.engine_lives(state):
        return ConfigError(
            f"{run.name} died, and its engine is still running", f"virc runs stop {run.name} --now ends it"
        )
    queued = state.job is not None and state.progress in ("new", "stopped")
    hint = f"scancel {state.job} takes its job out of the queue" if queued else None
    return ConfigError(f"nothing to stop: {ended(run, state)}", hint)
