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

_CHECK_EVERY = 0.2  # seconds between two looks at processes and the state of this machine
_ASK_EVERY = 2.0  # seconds between two questions to Slurm about a run on another host
_ASK_ENDING_EVERY = 0.5  # seconds between two questions about a job that is to end
_ENGINE_SECONDS = 20.0  # that the engine of an attempt that was killed gets to end
_SAVING_SECONDS = 60.0  # as much, since it last wrote to a checkpoint, for an engine that may be saving
_RAY_JOB_SECONDS = 70.0  # that a Ray job gets to end
_SLURM_SECONDS = 120.0  # that Slurm gets to end a job


def cancel(run: Run, state: State, job: Job | None) -> Job | None:
    """Take a waiting job out of the queue and return it; None: no job waits, or it has started meanwhile."""
    if job is None or job.phase != "queued":
        return None
    waits = ("--state=PENDING",) if job.slurm == "PENDING" else ()  # not one that starts now: `ask` lets it save
    _scancel(run, state, *waits)
    end = time.monotonic() + _SLURM_SECONDS
    while time.monotonic() < end:
        now, _ = queue.job_of(run, state)
        if now is None or now.phase == "over":
            return job
        if now.phase == "running":
            return None
        time.sleep(_ASK_ENDING_EVERY)
    return job


def ask(run: Run, state: State, job: Job | None = None) -> None:
    """Ask a running attempt to save and end, or a job that has just started to end; end an engine whose attempt died.

    Raises:
        ConfigError: it is not running, or runs where this machine cannot reach it.
        SetupError: it belongs to another user.
    """
    if state.progress == "running" and runs.is_on_this_machine(state):
        _signal(run, state.pid, signal.SIGTERM)
    elif state.progress == "running" or (job and job.phase == "running"):
        _scancel(run, state, "--batch", "--signal=TERM")  # USR1 would put the job back into the queue
    elif runs.engine_lives(state):  # the engine was asked to end when its attempt was killed
        _end(run, state, None if _has_ended(run, state) else "its engine did not end by itself and was killed")
    else:
        raise _not_running(run, state, job)


def kill(run: Run, state: State, job: Job | None = None) -> None:
    running = state.progress == "running"
    if (job and job.alive) or (running and not runs.is_on_this_machine(state)):
        _scancel(run, state)
        if job:
            _await_end(run, state)
            if runs.state(run).progress in ("running", "died"):
                runs.write_state(run, progress="stopped", pid=None, engine=None)
            if runs.is_on_this_machine(state):
                leftovers.clear(run, Reporter())
        return
    if not running and not runs.engine_lives(state):
        raise _not_running(run, state, job)
    _end(run, state)


def _has_ended(run: Run, state: State) -> bool:
    """Wait for the engine of a killed attempt to end by itself; returns whether it did."""
    patience = _SAVING_SECONDS if state.step and format_of(run).SAVES_WHEN_ASKED else _ENGINE_SECONDS
    seen, since = "", time.monotonic()
    while runs.engine_lives(state):
        files = written([run.checkpoints])
        if files != seen:
            seen, since = files, time.monotonic()
        if time.monotonic() - since > patience:
            return False
        time.sleep(_CHECK_EVERY)
    return True


def _end(run: Run, state: State, why: str | None = None) -> None:
    """Kill the attempt and the engine on this machine, and write that the run was stopped, with `why` as its error."""
    engine = state.engine if runs.engine_lives(state) else None
    if state.progress == "running":  # the attempt goes first: it would report the end of its engine as a failure
        _signal(run, state.pid, signal.SIGKILL)
    if engine is not None:
        if runs.info(run).launcher == "ray":  # the process here ends the job on the cluster, and must live until then
            _signal(run, engine, signal.SIGTERM)
            end = time.monotonic() + _RAY_JOB_SECONDS
            while runs.engine_lives(state) and time.monotonic() < end:
                time.sleep(_CHECK_EVERY)
        processes.kill(engine)
    leftovers.clear(run, Reporter())
    while runs.process_lives(state.pid, state.started) or runs.engine_lives(state):
        time.sleep(_CHECK_EVERY)
    runs.write_state(run, progress="stopped", error=why, pid=None, engine=None)


def wait(run: Run, job: Job | None = None) -> State:
    """Wait until a run that was asked to stop, and its job, have ended; returns the run's last state."""
    asked = time.monotonic()
    while (state := runs.state(run)).progress == "running":
        if job and not runs.is_on_this_machine(state) and time.monotonic() > asked + _ASK_EVERY:
            now, _ = queue.job_of(run, state)
            asked = time.monotonic()
            if now and now.phase == "over" and runs.state(run) == state:
                return msgspec.structs.replace(state, progress="died")
        time.sleep(_CHECK_EVERY)
    if job and job.alive:
        _await_end(run, state)
    return runs.state(run)


def _await_end(run: Run, state: State) -> None:
    end = time.monotonic() + _SLURM_SECONDS
    while (now := queue.job_of(run, state)[0]) and now.alive and time.monotonic() < end:
        if now.phase == "queued":  # its time was over at the same moment, and it put itself back into the queue
            _scancel(run, state)
        time.sleep(_ASK_ENDING_EVERY)


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
