"""What `virc train` does: begins a run or goes on with one, here or as a job, and reports how it ended."""

import os
import signal
import sys
from importlib.util import find_spec
from pathlib import Path

import msgspec

from virc.cluster import ray as ray_job
from virc.cluster import slurm
from virc.core import processes
from virc.core.errors import ConfigError, EngineError, UsageError
from virc.core.plan import Step
from virc.envs.hardware import find as this_machine
from virc.runs import run as runs
from virc.runs.run import Run
from virc.stages import resolve as stages
from virc.systems import registry as systems
from virc_cli.console import output
from virc_cli.training import begin, job, preview, probing
from virc_cli.training.attempt import Ended, attempt
from virc_cli.training.begin import Wanted

SCHEMA = "virc.train/1"


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How it is to be trained; `site` and `submit` are for the launcher `slurm`, `ray_address` for `ray`."""

    resume: bool = False
    dry_run: bool = False
    probe: bool = False
    launcher: str = "local"
    site: Path | None = None
    submit: bool = True
    ray_address: str | None = None
    as_json: bool = False


def train(wanted: Wanted | None, name: str | None, options: Options) -> None:
    """Do what was asked for.

    Args:
        wanted: None only for a run that is named and resumed.
        name: of a run to resume.

    Raises:
        UsageError: options exclude one another.
        VircError: something is missing, wrong or failed.
        KeyboardInterrupt: it was asked to stop, and what can be resumed is saved.
    """
    if options.resume:
        if options.dry_run or options.probe:
            raise UsageError(
                "--resume goes on with a run as it was begun", "virc runs show prints its settings"
            )
        run = _to_resume(name, wanted)
        output.know(run=str(run.folder))
        if options.ray_address:
            job.move(run, options.ray_address)
        _start(run, options)
        return
    assert wanted is not None
    if options.dry_run:
        resolved = begin.settings(wanted)
        there = _where(options, resolved.kind)
        preview.print_plan(wanted, resolved, there, options.as_json)
        return
    if options.probe:
        probing.probe(wanted, options.as_json)
        return
    run = _begun(wanted, options)
    output.know(run=str(run.folder))
    _start(run, options)


def _to_resume(name: str | None, wanted: Wanted | None) -> Run:
    """The run to go on with: the named one, else the newest of the stage that has not finished.

    Raises:
        UsageError: neither a name nor a stage is given.
        ConfigError: there is none.
    """
    if name:
        return runs.find(Path.cwd(), name)
    if wanted is None:
        raise UsageError("no run is named to go on with", "--name RUN; virc runs ls lists them")
    system = systems.get(wanted.system)
    stages.stage(system, wanted.stage)
    for run in reversed(runs.discover(Path.cwd())):
        about = runs.info(run)
        of_stage = (about.system, about.stage) == (system.name, wanted.stage)
        if of_stage and runs.state(run).progress in {"new", "stopped", "failed", "died"}:
            return run
    raise ConfigError(f"no run of {system.name} {wanted.stage} is to be resumed", "virc runs ls")


def _begun(wanted: Wanted, options: Options) -> Run:
    resolved = begin.settings(wanted)
    there = _where(options, resolved.kind)
    if isinstance(there, ray_job.Cluster):
        ray_job.check_answers(there)
    with begin.beginning(wanted, resolved) as (run, partial):
        here = this_machine(Path.cwd())
        found = begin.find(
            wanted, resolved, partial / "data", None if there else here, home=run.folder / "data"
        )
        begin.tell(found)
        begin.check_machine(found, here, options.launcher)
        about = msgspec.to_builtins(there) if there else {}
        info = begin.write(run, partial, found, options.launcher, about)
        if there:
            job.write(run, partial, info, there)
    output.note(f"{run.name}: {found.result.rows} rows, from {found.base.name}, in {run.folder}")
    return run


def _where(options: Options, kind: str) -> job.Where | None:
    return job.where(options.launcher, kind, options.site, options.ray_address)


def _start(run: Run, options: Options) -> None:
    """An attempt, looked after here or on the nodes of the job that this process is in; or a job for it."""
    inside = slurm.in_job(os.environ)
    if runs.info(run).launcher != "slurm" or inside:
        _run(run, options, inside)
    elif options.submit:
        job.submit(run)
        _print(run, run.folder, options)
    else:
        _print(run, run.folder / slurm.SCRIPT, options)


def _run(run: Run, options: Options, inside: str | None) -> None:
    if inside:
        runs.write_state(run, job=inside)
    ended = attempt(run, inside)
    if ended.finished:
        _plot(run)
    output.know(progress=runs.state(run).progress, step=ended.step)
    if not ended.finished and inside and ended.signal == signal.SIGUSR1:
        job.requeue(run, inside)
        return
    _report(run, ended, options)


def _report(run: Run, ended: Ended, options: Options) -> None:
    if not ended.finished:
        saved = f"saved at step {ended.step}" if ended.step else "nothing was saved yet"
        lost = f", {ended.lost} step{'s' * (ended.lost > 1)} lost" if ended.lost else ""
        again = f"virc train --resume --name {run.name} " + ("goes on" if ended.step else "begins again")
        if ended.unwell and ended.signal is None:
            raise EngineError(f"stopped: {ended.unwell}; {saved}{lost}", again)
        output.note(f"stopped, {saved}{lost}; {again}")
        if ended.signal == signal.SIGTERM:
            signal.raise_signal(signal.SIGTERM)  # main knows by it that it was no Ctrl-C
        raise KeyboardInterrupt
    _print(run, run.folder, options)


def _print(run: Run, path: Path, options: Options) -> None:
    if not options.as_json:
        output.line(str(path))
        return
    state = runs.state(run)
    output.emit(
        {
            "schema": SCHEMA,
            "run": str(run.folder),
            "progress": state.progress,
            "step": state.step,
            "error": None,
        }
    )


def _plot(run: Run) -> None:
    """Draw the metrics in a process of its own: the library takes longer to import than virc works in an hour."""
    if find_spec("matplotlib"):
        step = Step((sys.executable, "-m", "virc_cli", "runs", "plot", run.name), "draw the metrics")
        try:
            processes.output(step)
        except EngineError as error:  # a picture is no reason to fail a run that has finished
            output.warn(error.message, error.hint)
