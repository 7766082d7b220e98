"""`virc runs tail`: print a run's steps while they are written."""

import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from virc.core.errors import ConfigError, EngineError
from virc_cli.console import completion, output
from virc_cli.console.options import argument, flag

if TYPE_CHECKING:
    from virc.runs.metrics import Metric
    from virc.runs.queue import Job
    from virc.runs.run import Run, State

FAILURE: dict[str, object] = {"name": None}
_POLL_SECONDS = 0.5
_MAX_EARLIER = 20  # lines printed of those that are there when following begins


def command(
    name: Annotated[
        str | None, argument("NAME", "A run; default: the newest that runs or waits.", autocompletion=completion.runs)
    ] = None,
    as_json: Annotated[bool, flag("--json", "Print all metrics, one JSON object per step.")] = False,
) -> None:
    """Follow a run until it ends.

    One line is printed for each step. Ctrl-C stops following; the run continues. A run whose Slurm job waits is
    followed when it starts.
    """
    from virc.runs import run as runs
    from virc.runs.status import ended, next_step

    run = runs.find(Path.cwd(), name) if name else _newest_running(Path.cwd())
    output.know(name=run.name)
    if runs.state(run).progress == "new":
        output.note(f"{run.name} has not started; waiting for it")
    last, job = _follow_metrics(run, as_json)
    if last.progress == "new" and job:
        logs = run.folder / "logs" / f"slurm-{job.id}.log"
        again = f"virc train --resume --name {run.name} submits it again"
        hint = f"see {logs}; {again}" if logs.exists() else again
        raise EngineError(f"{run.name} has not started, and {job.text}", hint)
    if last.progress in ("failed", "died"):
        raise EngineError(ended(run, last), next_step(run, last))
    output.note(ended(run, last))
    if last.progress == "stopped":
        output.note(next_step(run, last))


def _newest_running(workspace: Path) -> "Run":
    from virc.runs import queue
    from virc.runs import run as runs

    found = runs.discover(workspace)
    states = []
    for run in reversed(found):
        with suppress(ConfigError):
            states.append((run, runs.state(run)))
    for run, state in states:
        if state.progress == "running":
            return run
    slurm = queue.ask(states)
    for run, state in states:
        if (job := slurm.of(state)) and job.alive:
            return run
    hint = f"virc runs tail {found[-1].name} shows how the newest ended" if found else "virc train begins one"
    raise ConfigError("no run of this workspace is running", hint)


def _follow_metrics(run: "Run", as_json: bool) -> "tuple[State, Job | None]":
    import msgspec

    from virc.runs.follow import Mark, mark, seconds_left
    from virc.runs.metrics import as_metric
    from virc.runs.status import step_line

    shown: Mark | None = None
    first: Metric | None = None

    def text_of(line: bytes) -> str | None:
        nonlocal shown, first
        metric = as_metric(line)
        if metric is None or (shown is not None and mark(metric) <= shown):
            return None
        if first is None or metric.attempt != first.attempt:
            first = metric
        shown = mark(metric)
        if as_json:
            return msgspec.json.encode(metric).decode()
        return step_line(metric, seconds_left(first, metric))

    return _follow(run, text_of, None if as_json else _MAX_EARLIER)


def _follow(run: "Run", text_of: Callable[[bytes], str | None], max_earlier: int | None) -> "tuple[State, Job | None]":
    """Print new lines of the metrics until the run has ended; return its last state and its Slurm job, if it has one.

    Args:
        text_of: what to print of a line, if anything.
        max_earlier: lines printed of those that are there already; None: all.
    """
    from virc.runs import follow
    from virc.runs import run as runs
    from virc.runs.queue import Watch

    watch = Watch(run)
    lines = follow.lines(run.metrics)
    while True:
        if not (run.folder / "run.json").exists():
            raise ConfigError(f"{run.name} has been removed")
        state = runs.state(run)  # before the lines, so that none is missed when it has ended
        new = (text_of(line) for line in iter(partial(next, lines), None))
        for text in deque((text for text in new if text is not None), max_earlier):
            output.line(text)
        max_earlier = None
        if news := watch.look(state):
            output.note(news)
        if watch.over:
            return state, watch.job
        time.sleep(_POLL_SECONDS)
