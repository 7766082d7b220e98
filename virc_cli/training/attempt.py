"""One attempt at a run: starts the engine, looks after it, and says how it ended."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from types import FrameType
from typing import Any

import msgspec

from virc.core import processes
from virc.core.errors import ConfigError, EngineError, VircError
from virc.core.files import is_folder
from virc.core.plan import Plan, Step
from virc.core.processes import start_time
from virc.core.text import clause
from virc.engines import registry as engines
from virc.engines.llamafactory import resume
from virc.engines.registry import Planner
from virc.envs import environment as environments
from virc.envs import making
from virc.runs import attempts
from virc.runs import run as runs
from virc.runs.attempts import Attempt
from virc.runs.checkpoints import checkpoints, format_of, step_of
from virc.runs.run import Info, Run
from virc.training import inputs as training
from virc_cli.console import output, plans, progress
from virc_cli.training import job as jobs
from virc_cli.training import remains
from virc_cli.training.follow import Follower, drop_after, take_over
from virc_cli.training.tending import complete, forget_spare

_LOOK = 1.0  # seconds
_FORMER_ENGINE = 120.0  # seconds that the engine of a killed attempt gets to save and end


class Ended(msgspec.Struct, frozen=True):
    """How an attempt ended, when it did not fail.

    Args:
        finished: every step was done.
        step: of the newest whole checkpoint.
        signal: what asked it to end before.
        lost: optimizer steps that were done and not saved.
        unwell: the sign of ill health that ended it.
    """

    finished: bool
    step: int | None
    signal: int | None = None
    lost: int = 0
    unwell: str | None = None


def attempt(run: Run, job: str | None = None) -> Ended:
    """Train until the end of the run, or until it is asked to save and end: by Ctrl-C, SIGTERM, SIGUSR1 or a terminal
    that is closed.

    Args:
        job: id of the cluster's job this process is in: the engine is started on all its nodes.

    Raises:
        ConfigError: another process is at it.
        EngineError: the engine failed, or trains on other rows than were checked.
        KeyboardInterrupt: it was interrupted a second time and ended at once.
    """
    with attempts.alone(run):
        state = runs.state(run)
        if state.progress == "finished":
            raise ConfigError(f"the run {run.name} has finished", f"virc runs show {run.name}")
        _await_former_engine(run, state)
        remains.clear(run)
        number = state.attempt + 1
        take_over(run)
        plan, step = _planned(run, number, job)
        drop_after(run, step)
        runs.write_state(
            run, progress="running", attempt=number, step=step, error=None, **runs.this_process()
        )
        try:
            return _conclude(run, number, *_trained(run, plan, number, step))
        except BaseException as error:
            _fail(run, number, error)
            raise


def _planned(run: Run, number: int, job: str | None) -> tuple[Plan, int]:
    """The plan of the next attempt, its files written; and the step it goes on from."""
    info = _begun_with(run)
    config = training.config_of(info)
    place = training.place_of(info, run, number)
    plan: Plan = _engine(run).plan(config, place, {}, info.origins)
    plan = jobs.placed(plan, run, info, number, place, job)
    if plan.loadable:
        resume.loadable(*plan.loadable)
    plans.write(plan)
    step = step_of(run, place.resume) if place.resume else 0
    if step:
        output.note(f"going on from step {step}")
    attempts.write(run, Attempt(number=number, began=_now()))
    return plan, step


def _begun_with(run: Run) -> Info:
    """What the run was begun with, all of it still there; in place of code that is gone, that of today."""
    info = runs.info(run)
    training.still_there(run, info)
    if is_folder(info.recipes):
        return info
    output.warn(f"the code that {run.name} was begun with is gone: it goes on with that of this version")
    return msgspec.structs.replace(
        info, recipes=str(environments.recipes_in(making.find(info.kind, info.device)))
    )


def _trained(run: Run, plan: Plan, number: int, step: int) -> tuple[int, int | None, Follower]:
    """Run the engine; returns its exit code, the signal that asked it to end, and what was seen of it."""
    info = runs.info(run)
    with progress.shown() as show, _signals() as asked:
        follower = Follower(run, info, number, step, show)
        with remains.none_after(run), processes.started(_marked(plan.step, run), run.log(number)) as process:
            runs.write_state(run, engine=process.pid, engine_started=start_time(process.pid))
            code = _watch(run, process, follower, asked)
        follower.look()
        follower.tend()
        complete(run)
    return code, next(iter(asked), None), follower


def _marked(step: Step, run: Run) -> Step:
    return msgspec.structs.replace(step, env={**step.env, **remains.mark(run)})


def _watch(run: Run, process: processes.Process, follower: Follower, asked: list[int]) -> int:
    told = False
    while (code := process.wait(_LOOK)) is None:
        follower.look()
        if (asked or follower.watch.reason) and not told:
            told = True
            process.ask_to_save()
            output.note(_told(run))
        if signal.SIGINT in asked[1:]:
            raise KeyboardInterrupt
    return code


def _told(run: Run) -> str:
    if format_of(run).SAVES_WHEN_ASKED:
        return "saving a checkpoint; a second Ctrl-C ends at once and loses what came after the last"
    return f"stopping; {_engine(run).NAME} saves nothing when it is asked to end"


def _conclude(run: Run, number: int, code: int, asked: int | None, follower: Follower) -> Ended:
    whole = checkpoints(run)
    last = whole[-1].step if whole else 0
    forget_spare(run, whole[-1] if whole else None)
    finished = code == 0 and last > 0 and follower.total is not None and last >= follower.total
    unwell = follower.watch.reason
    if not finished and asked is None and unwell is None:
        message, hint = _cause(run, number, code)
        raise EngineError(f"{_engine(run).NAME} failed: {message}", hint or f"see {run.log(number)}")
    lost = max(0, follower.step - last)
    if code and lost and format_of(run).SAVES_WHEN_ASKED:
        output.warn(f"step {follower.step} was not saved: {_cause(run, number, code)[0]}")
    _end(run, number, "finished" if finished else "stopped", code, None if finished else unwell, step=last)
    return Ended(finished, last or None, asked, lost, unwell)


def _engine(run: Run) -> Planner:
    return engines.of_kind(runs.info(run).kind).plan


def _cause(run: Run, number: int, code: int) -> tuple[str, str | None]:
    """Why an engine ended by itself, as a clause, and what to do about it."""
    if not code:
        return "it ended before its last step", None
    return engines.of_kind(runs.info(run).kind).log.cause(run.log(number), code)


def _fail(run: Run, number: int, error: BaseException) -> None:
    stopped = isinstance(error, KeyboardInterrupt)
    sentence = error.message if isinstance(error, VircError) else "interrupted" if stopped else clause(error)
    with suppress(OSError, VircError):
        forget_spare(run, None)
        _end(run, number, "stopped" if stopped else "failed", None, sentence)


def _end(
    run: Run, number: int, state: runs.Progress, code: int | None, error: str | None, **fields: Any
) -> None:
    began = next((each.began for each in attempts.attempts(run) if each.number == number), None)
    attempts.write(
        run,
        Attempt(number=number, began=began, ended=_now(), exit=code, error=error, saved=fields.get("step")),
    )
    runs.write_state(run, progress=state, error=error, pid=None, engine=None, **fields)


def _await_former_engine(run: Run, state: runs.State) -> None:
    """Where virc was killed the engine saves and ends by itself; two of them must not train in one folder."""
    end = time.monotonic() + _FORMER_ENGINE
    if runs.engine_lives(state):
        output.note("waiting for the engine of the attempt before to save and end")
    while runs.engine_lives(state):
        if time.monotonic() > end:
            raise ConfigError(
                f"the engine of the attempt before still runs (process {state.engine})",
                f"virc runs stop {run.name} --now",
            )
        time.sleep(_LOOK)


@contextmanager
def _signals() -> Iterator[list[int]]:
    """Collect signals that ask to end, instead of ending."""
    asked: list[int] = []

    def ask(number: int, _frame: FrameType | None) -> None:
        asked.append(number)

    numbers = [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # nohup
        numbers.append(signal.SIGHUP)
    before = [signal.signal(number, ask) for number in numbers]
    try:
        yield asked
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
