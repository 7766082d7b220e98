"""One attempt at a run: starts the engine, follows it, and records how it ended.

`attempt` is the entry. It waits for what an earlier attempt left running, has `_planned` write the files of the engine,
`_trained` start the engine and `_watch` it until it ends, and `_conclude` find out whether the run is finished.
"""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from types import FrameType
from typing import Any

import msgspec

from virc.cluster import jobs, judge, slurm
from virc.core import processes
from virc.core.errors import ConfigError, EngineError, VircError
from virc.core.events import Reporter
from virc.core.files import is_folder
from virc.core.plan import Plan, write_files
from virc.core.processes import start_time
from virc.core.text import clause
from virc.engines import registry as engines
from virc.engines.llamafactory import resume
from virc.engines.registry import Planner
from virc.envs import environment as environments
from virc.envs import making
from virc.rewards import user_code
from virc.runs import attempts, leftovers
from virc.runs import run as runs
from virc.runs.attempts import Attempt
from virc.runs.checkpoints import checkpoints, complete, format_of, remove_spare, step_of
from virc.runs.metrics import newest
from virc.runs.run import Info, Run
from virc.systems.kinds import runs_in
from virc.training import inputs
from virc.training.follow import Follower, drop_after, take_over
from virc.training.health import known_by_heart
from virc.training.silence import LIMIT

_POLL = 1.0  # seconds
_notices: list[int] = []  # signals that came between attempts, kept by `hold_notice`
_SIGKILL = 9  # `signal` has no name for it on Windows
_KILLED = 128 + _SIGKILL  # how srun and shells say that a process was killed
_FORMER_JOB = 600.0  # seconds that a job waits for what it started on a node that Slurm has lost
_FORMER_ENGINE = 120.0  # seconds that the engine of a killed attempt gets to save and end
_ENDS = 10.0  # seconds that an engine that saves nothing gets to end by itself
_SAVES = 60.0  # seconds without a sign of life while an engine saves: it gathers weights before it writes a byte
_RAY_ENDS = 120.0  # seconds that a Ray job gets to end, which takes up to 90


class Ended(msgspec.Struct, frozen=True):
    """How an attempt ended that did not fail.

    Args:
        step: the last that was saved.
        signal: the first that asked it to end.
        lost: optimizer steps that were done and not saved.
        unhealthy: the sign of ill health that ended it.
    """

    finished: bool
    step: int | None
    signal: int | None = None
    lost: int = 0
    unhealthy: str | None = None


def attempt(run: Run, report: Reporter, job: str | None = None) -> Ended:
    """Train until the run ends, or until Ctrl-C, SIGTERM, SIGUSR1 or a closed terminal asks it to save and end.

    Args:
        job: id of the Slurm job this process is in: the engine is started on all its nodes.

    Raises:
        ConfigError: another process works on the run, or it has finished.
        EngineError: the engine failed, or trains on other rows than were checked.
        KeyboardInterrupt: it was interrupted a second time and ended at once.
    """
    if job:
        # If Slurm cannot reach a node it restarts the job on others; the former start may run on there for minutes.
        former = runs.state(run)
        trains = f"process {former.pid} on {former.host}"
        note = f"waiting for {trains}, which still trains {run.name}"
        error = ConfigError(f"{trains} still trains {run.name}", "end it there")
        _await_end(lambda: runs.state(run).progress == "running", _FORMER_JOB, note, error, report)
    with attempts.alone(run):
        state = runs.state(run)
        if state.progress == "finished":
            raise ConfigError(f"the run {run.name} has finished", f"virc runs show {run.name}")
        # If virc was killed, its engine saves and ends by itself; two engines must not train in one folder.
        running = f"the engine of the previous attempt is still running (process {state.engine})"
        error = ConfigError(running, f"virc runs stop {run.name} --now")
        note = "waiting for the engine of the previous attempt to save and end"
        _await_end(lambda: runs.engine_lives(state), _FORMER_ENGINE, note, error, report)
        if state.progress == "died" and runs.state(run).progress == "stopped":
            raise ConfigError(f"{run.name} was stopped meanwhile", f"virc train --resume --name {run.name} resumes it")
        leftovers.clear(run, report)
        number = state.attempt + 1
        take_over(run)
        # The trainer of LLaMA-Factory takes a step before it looks at its end.
        last = max((each.step for each in checkpoints(run)), default=0)
        if state.total is not None and last >= state.total and format_of(run).SAVES_WHEN_ASKED:
            report.note(f"its last step, {last}, was saved before")
            runs.write_state(run, progress="finished", step=last, error=None, pid=None, engine=None)
            return Ended(True, last)
        plan, step = _planned(run, number, job, report)
        drop_after(run, step)
        process = runs.this_process()
        runs.write_state(run, progress="running", attempt=number, step=step, error=None, **newest(run), **process)
        code: int | None = None
        try:
            code, asked, follower = _trained(run, plan, number, step, job, report)
            return _conclude(run, number, code, asked, follower, report)
        except BaseException as error:
            stopped = isinstance(error, KeyboardInterrupt)
            text = error.message if isinstance(error, VircError) else clause(error)
            with suppress(OSError, VircError):
                remove_spare(run, None)
                _record_end(run, number, "stopped" if stopped else "failed", code, "interrupted" if stopped else text)
            raise


def _planned(run: Run, number: int, job: str | None, report: Reporter) -> tuple[Plan, int]:
    info = _info_with_code(run, report)
    place = inputs.place_of(info, run, number)
    plan: Plan = _engine(run).plan(inputs.config_of(info), place, {}, info.origins)
    in_code = user_code.variables_in_code(run.folder, os.environ)
    engine = msgspec.structs.replace(plan.step, env={**in_code, **plan.step.env})
    if job:  # srun hands on all variables of this process, so those to be removed are set to nothing
        removed = processes.removed_variables(engine, os.environ)
        unset = {name: "" for name in removed if name.isidentifier() and not name.startswith("SLURM")}
        plan = msgspec.structs.replace(plan, step=msgspec.structs.replace(plan.step, env={**unset, **plan.step.env}))
    plan = jobs.placed(plan, run, info, number, place, job)
    processes.report_removed(plan.step if info.launcher == "ray" else engine, os.environ, report, user_code.UNLESS)
    if plan.loadable:
        resume.loadable(*plan.loadable)
    write_files(plan)
    step = step_of(run, place.resume) if place.resume else 0
    if step:
        report.note(f"resuming from step {step}")
    attempts.write(run, Attempt(number=number, began=_now()))
    return plan, step


def _info_with_code(run: Run, report: Reporter) -> Info:
    """What the run was begun with, checked to be still there; if its copy of our code is gone, with this version's."""
    info = runs.info(run)
    report.progress("looking for its rows and images")
    inputs.still_there(run, info)
    if is_folder(info.recipes):
        return info
    report.warn(f"the code that {run.name} was begun with is gone: this version's is used instead")
    recipes = environments.recipes_in(making.find(runs_in(info.kind).environment, info.device))
    return msgspec.structs.replace(info, recipes=str(recipes))


def _trained(
    run: Run, plan: Plan, number: int, step: int, job: str | None, report: Reporter
) -> tuple[int, int | None, Follower]:
    """Run the engine; returns its exit code, the first signal that asked it to end, and what followed it."""
    env = {**user_code.variables_in_code(run.folder, os.environ), **plan.step.env, **leftovers.mark(run)}
    marked = msgspec.structs.replace(plan.step, env=env)
    info = runs.info(run)
    with _signals() as asked, judge.served(run, info, number, job, asked, report) as serving:
        follower = Follower(run, info, number, step, report)
        with leftovers.none_after(run, report), processes.started(marked, run.log(number)) as process:
            runs.write_state(run, engine=process.pid, engine_started=start_time(process.pid))
            code = _watch(run, process, follower, asked, number, serving, report)
        follower.poll()
        follower.tend()
        complete(run)
    return code, next(iter(asked), None), follower


def _watch(
    run: Run, process: processes.Process, follower: Follower, asked: list[int], number: int,
    serving: judge.Serving | None, report: Reporter,
) -> int:  # fmt: skip
    """Follow the engine until it ends. `asked`: signals that have come so far; the first asks the engine to save."""
    ending = False
    while (code := process.wait(_POLL)) is None:
        follower.poll()
        if serving and not ending:
            serving.check()
        if (asked or follower.watch.reason or follower.silence.reason) and not ending:
            ending = True
            follower.silence.begin_end()
            process.ask_to_save()
            report.note(_ending(run, asked, follower.silence.reason))
        if signal.SIGINT in asked[1:]:
            raise KeyboardInterrupt
        is_late = ending and follower.silence.over(_time_to_end(run, follower), follower.started)
        if is_late or slurm.lost(run.attempt(number)):
            process.end()
    return code


def _time_to_end(run: Run, follower: Follower) -> float:
    if runs.info(run).launcher == "ray":
        return _RAY_ENDS
    saves = follower.started and format_of(run).SAVES_WHEN_ASKED
    return max(_SAVES, _ENDS + 2 * follower.silence.longest) if saves else _ENDS


def _ending(run: Run, asked: list[int], silent: str | None) -> str:
    """The note when an engine is asked to end."""
    name = _engine(run).NAME
    if silent and not asked:
        return f"{name} {silent}: ending it"
    if not format_of(run).SAVES_WHEN_ASKED:
        return f"stopping; {name} saves nothing when it is asked to end"
    if signal.SIGINT in asked:  # only then somebody can press Ctrl-C again
        return "saving a checkpoint; a second Ctrl-C ends at once and loses the steps since the last one"
    return "saving a checkpoint"


def _conclude(run: Run, number: int, code: int, asked: int | None, follower: Follower, report: Reporter) -> Ended:
    saved = checkpoints(run)
    last = saved[-1].step if saved else 0
    remove_spare(run, saved[-1] if saved else None)
    well = code == 0 or bool(slurm.lost(run.attempt(number)))
    finished = well and last > 0 and follower.total is not None and last >= follower.total
    unhealthy = follower.watch.reason
    if follower.silence.reason and not finished:
        place = f"from step {last}" if last else "from the beginning"
        hint = f"virc train --resume --name {run.name} resumes it {place}; {LIMIT}=0 waits without end"
        raise EngineError(f"{_engine(run).NAME} {follower.silence.reason}: it was ended", hint)
    if not finished and asked is None and unhealthy is None:
        message, hint_of_engine = _cause(run, number, code)
        raise EngineError(f"{_engine(run).NAME} failed: {message}", hint_of_engine or f"see {run.log(number)}")
    lost = max(0, follower.step - last)
    if code and lost and format_of(run).SAVES_WHEN_ASKED:
        report.warn(f"step {follower.step} was not saved: {_cause(run, number, code)[0]}")
    progress: runs.Progress = "finished" if finished else "stopped"
    _record_end(run, number, progress, code, None if finished else unhealthy, step=last)
    if finished and (by_heart := known_by_heart(run)):
        report.warn(*by_heart)
    return Ended(finished, last or None, asked, lost, unhealthy)


def _engine(run: Run) -> Planner:
    return engines.of_kind(runs.info(run).kind).plan


def _cause(run: Run, number: int, code: int) -> tuple[str, str | None]:
    """Why an engine ended, and a hint if there is one."""
    if lost := slurm.lost(run.attempt(number)):
        return f"Slurm's daemon of the step was killed on node {', '.join(lost)} of the job", None
    if node := slurm.failed_node(run.log(number)):
        return f"Slurm has lost the node {node}", None
    if not code:
        return "it ended before its last step", None
    code = -_SIGKILL if code == _KILLED else code
    return engines.of_kind(runs.info(run).kind).log.cause(run.log(number), code)


def _record_end(
    run: Run, number: int, state: runs.Progress, code: int | None, error: str | None, **fields: Any
) -> None:
    began = next((each.began for each in attempts.attempts(run) if each.number == number), None)
    saved = fields.get("step")
    attempts.write(run, Attempt(number=number, began=began, ended=_now(), exit=code, error=error, saved=saved))
    runs.write_state(run, progress=state, error=error, pid=None, engine=None, **fields)


def _await_end(lives: Callable[[], bool], seconds: float, note: str, error: ConfigError, report: Reporter) -> None:
    end = time.monotonic() + seconds
    if lives():
        report.note(note)
    while lives():
        if time.monotonic() > end:
            raise error
        time.sleep(_POLL)


def hold_notice() -> None:
    """Keep the signal USR1, which announces the end of a job's time, for the next attempt; else it would kill.

    It may arrive while an attempt is being prepared, or when a run has finished and its metrics are being drawn.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGUSR1, lambda number, _frame: _notices.append(number))


@contextmanager
def _signals() -> Iterator[list[int]]:
    """Collect the signals that ask to end, the kept ones first; outside of the main thread Python gets no signals."""
    asked: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def ask(number: int, _frame: FrameType | None) -> None:
        asked.append(number)

    numbers = [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # nohup
        numbers.append(signal.SIGHUP)
    before = [signal.signal(number, ask) for number in numbers]
    asked += _notices
    try:
        yield asked
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
