"""Stops runs: signals to processes of this machine, `scancel` for a Slurm job."""

import os
import shutil
import signal
import time

from virc.core import processes
from virc.core.errors import ConfigError, SetupError
from virc.core.events import Reporter
from virc.core.plan import Step
from virc.runs import leftovers
from virc.runs import run as runs
from virc.runs.run import Run, State
from virc.runs.status import ended

_EVERY = 0.2  # seconds between two checks
_JOB = 70.0  # seconds for a Ray job to end


def ask(run: Run, state: State) -> None:
    """Ask a running attempt to save and end.

    Raises:
        ConfigError: it is not running, or runs where this machine cannot reach it.
        SetupError: it belongs to another user.
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
    running = state.progress == "running"
    if running and not runs.here(state):
        _scancel(run, state)
        return
    engine = state.engine if runs.engine_lives(state) else None
    if not running and engine is None:
        raise _not_running(run, state)
    if running:  # first, or it would report that its engine failed
        _signal(run, state.pid, signal.SIGKILL)
    if engine is not None:
        if runs.info(run).launcher == "ray":  # the process here ends the job on the cluster, and must live until then
            _signal(run, engine, signal.SIGTERM)
            end = time.monotonic() + _JOB
            while runs.engine_lives(state) and time.monotonic() < end:
                time.sleep(_EVERY)
        processes.kill(engine)
    leftovers.clear(run, Reporter())
    while runs.there(state.pid, state.started) or runs.engine_lives(state):
        time.sleep(_EVERY)
    runs.write_state(run, progress="stopped", pid=None, engine=None)


def wait(run: Run) -> State:
    """Wait until a run is not running; returns how it ended."""
    while (state := runs.state(run)).progress == "running":
        time.sleep(_EVERY)
    return state


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
        raise ConfigError(f"{run.name} runs on {state.host}", f"on that machine: virc runs stop {run.name}")
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
