"""`virc runs stop`: end a run so that it can be resumed."""

from pathlib import Path
from typing import Annotated

from virc.core.errors import EngineError
from virc_cli.console import output
from virc_cli.console.options import RunName, flag


def command(
    name: RunName, now: Annotated[bool, flag("--now", "End it at once, without a checkpoint.")] = False
) -> None:
    """Ask a run to save and end, and wait for it.

    Ctrl-C ends the waiting only. A job that waits in Slurm's queue is cancelled.
    """
    from virc.runs import queue, stopping
    from virc.runs import run as runs
    from virc.runs.checkpoints import checkpoints, format_of
    from virc.runs.status import ended, next_step, steps

    run = runs.find(Path.cwd(), name)
    state = runs.state(run)
    job, unanswered = queue.job_of(run, state)
    if unanswered:
        output.warn(unanswered)
    if cancelled := stopping.cancel(run, state, job):
        output.line(f"{run.name} is out of the queue: its job {cancelled.id} was cancelled")
        output.note(f"virc train --resume --name {run.name} submits it again")
        return
    (stopping.kill if now else stopping.ask)(run, state, job)
    try:
        if not now:
            saves = "save and " if format_of(run).SAVES_WHEN_ASKED else ""
            output.note(f"asked {run.name} to {saves}end, at step {steps(state.step, state.total)}")
        last = stopping.wait(run, job)
    except KeyboardInterrupt:
        output.note(f"{run.name} has been asked to stop, and ends in the background")
        raise
    if last.progress in ("failed", "died"):
        raise EngineError(ended(run, last), next_step(run, last))
    if last.progress == "new":
        output.line(f"{run.name} was stopped before its first step")
        output.note(f"virc train --resume --name {run.name} starts it again")
        return
    saved = "no checkpoint was saved"
    if resumable := [each.step for each in checkpoints(run) if each.resumable]:
        lost = f", {last.step - resumable[-1]} steps before" * (resumable[-1] < last.step)
        saved = f"its newest checkpoint is of step {resumable[-1]}{lost}"
    output.line(f"{ended(run, last)}; {saved}")
    if last.progress == "stopped":
        output.note(next_step(run, last))
