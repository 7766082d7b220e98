"""Stops runs: signals to processes of this machine, `scancel` for a Slurm job that waits or runs elsewhere."""

import os
import shutil
import signal
import time

import msgspec

from virc.core import processes
from virc.core.errors import ConfigError, SetupError
from virc.core.events import Reporter
from virc.core.plan import Step
from virc.runs import leftovers, queue
from virc.runs import run as runs
from virc.runs.checkpoints import format_of, written
from virc.runs.queue import Job
from virc.runs.run import Run, State
from virc.runs.status import ended

_EVERY = 0.2  # seconds between two checks
_ASK = 2.0  # seconds between two questions to Slurm about a run on another host
_LOOK = 0.5  # seconds between two questions about a job that is to end
_LEFT = 20.0  # seconds that the engine of an attempt that was killed gets to end
_SAVES = 60.0  # as many since it last wrote to a checkpoint, where it may be saving
_JOB = 70.0  # seconds for a Ray job to end
_ENDING = 120.0  # seconds that Slurm gets to end a job


def cancel(run: Run, state: State, job: Job | None) -> Job | None:
    """Take a job that waits out of the queue; returns it, None if none waits or it has started meanwhile."""
    if job is None or job.phase != "queued":
        return None
    waits = ("--state=PENDING",) if job.slurm == "PENDING" else ()  # not one that starts right now: that one saves
    _scancel(run, state, *waits)
    end = time.monotonic() + _ENDING
    while time.monotonic() < end:
        now, _ = queue.job_of(run, state)
        if now is None or now.phase == "over":
            return job
        if now.phase == "running":
            return None
        time.sleep(_LOOK)
    return job


def ask(run: Run, state: State, job: Job | None = None) -> None:
    """Ask a running attempt to save and end; a job that has just started, to end. End an engine whose attempt died.

    Raises:
        ConfigError: it is not running, or runs where this machine cannot reach it.
        SetupError: it belongs to another user.
    """
    if state.progress == "running" and runs.here(state):
        _signal(run, state.pid, signal.SIGTERM)
    elif state.progress == "running" or (job and job.phase == "running"):
        _scancel(run, state, "--batch", "--signal=TERM")  # USR1 would put the job back into the queue
    elif runs.engine_lives(state):  # it was asked as its attempt was killed
        _end(run, state, None if _has_ended(run, state) else "its engine did not end by itself and was killed")
    else:
        raise _not_running(run, state, job)


def kill(run: Run, state: State, job: Job | None = None) -> None:
    running = state.progress == "running"
    if (job and job.alive) or (running and not runs.here(state)):
        _scancel(run, state)
        if job:
            _await_end(run, state)
            if runs.state(run).progress in ("running", "died"):
                runs.write_state(run, progress="stopped", pid=None, engine=None)
            if runs.here(state):
                leftovers.clear(run, Reporter())
        return
    if not running and not runs.engine_lives(state):
        raise _not_running(run, state, job)
    _end(run, state)


def _has_ended(run: Run, state: State) -> bool:
    patience = _SAVES if state.step and format_of(run).SAVES_WHEN_ASKED else _LEFT
    seen, since = "", time.monotonic()
    while runs.engine_lives(state):
        if seen != (seen := written([run.checkpoints])):
            since = time.monotonic()
        if time.monotonic() - since > patience:
            return False
        time.sleep(_EVERY)
    return True


def _end(run: Run, state: State, why: str | None = None) -> None:
    engine = state.engine if runs.engine_lives(state) else None
    if state.progress == "running":  # first, or it would report that its engine failed
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
    runs.write_state(run, progress="stopped", error=why, pid=None, engine=None)


def wait(run: Run, job: Job | None = None) -> State:
    asked = time.monotonic()
    while (state := runs.state(run)).progress == "running":
        if job and not runs.here(state) and time.monotonic() > asked + _ASK:
            now, _ = queue.job_of(run, state)
            asked = time.monotonic()
            if now and now.phase == "over" and runs.state(run) == state:
                return msgspec.structs.replace(state, progress="died")
        time.sleep(_EVERY)
    if job and job.alive:
        _await_end(run, state)
    return runs.state(run)


def _await_end(run: Run, state: State) -> None:
    end = time.monotonic() + _ENDING
    while (now := queue.job_of(run, state)[0]) and now.alive and time.monotonic() < end:
        if now.phase == "queued":  # its time was over at the same moment, and it went back by itself
            _scancel(run, state)
        time.sleep(_LOOK)


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
        where = f" on {state.host}" if state.host and state.progress == "running" else ""
        raise ConfigError(f"{run.name} runs{where} in the job {state.job}", " ".join(words))
    processes.output(Step(words, f"stop the job {state.job}"))


def _not_running(run: Run, state: State, job: Job | None) -> ConfigError:
    unknown = job is None and state.job is not None and state.progress != "finished"
    hint = f"scancel {state.job} ends its job, if it waits" if unknown else None
    return ConfigError(f"nothing to stop: {ended(run, state)}", hint)
