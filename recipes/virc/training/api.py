"""Trains a stage: begins a run or resumes one, on this machine or as a job of a cluster."""

import os
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from virc.cluster import jobs, submitting
from virc.core.errors import ConfigError, EngineError, UsageError
from virc.core.events import Event, Reporter
from virc.core.processes import in_job
from virc.runs import run as runs
from virc.runs.checkpoints import checkpoints
from virc.runs.run import Run
from virc.stages import resolve as stages
from virc.systems import registry as systems
from virc.training import changes, continued, inputs, prepare
from virc.training.attempt import attempt, hold_notice
from virc.training.request import TrainRequest

Launcher = Literal["local", "slurm", "ray"]


class RunEvent(Event, frozen=True, kw_only=True):
    """The run that is trained is known from here on."""

    run: Run


def train(
    system: str | Path = systems.DEFAULT,
    stage: str | None = None,
    *,
    overlays: Sequence[str] = (),
    settings: Mapping[str, Any] | None = None,
    data: str | Path | None = None,
    base: str | Path | None = None,
    name: str | None = None,
    resume: bool = False,
    rows_changed: bool = False,
    folder: str | Path | None = None,
    on_progress: Callable[[Event], None] | None = None,
    launcher: Launcher = "local",
    site: str | Path | None = None,
    submit: bool = True,
    ray_address: str | None = None,
    **options: Any,
) -> Run:
    """Train a stage of a system until it is finished. Ctrl-C saves a checkpoint, if the engine can, and stops.

    Args:
        system: a system's name, or its YAML.
        stage: of the system; without it a run is resumed by its name.
        overlays: of the system, as `--with` takes them.
        settings: of the stage, such as `{"learning_rate": 1e-5}`; a dotted key reaches inside. With `resume` those of
            `continued.CHANGEABLE`, which the run then has.
        data: file of rows to train on instead.
        base: a model or run to start from instead.
        name: of the run.
        resume: resume the run of that name, else the newest of the stage that has not finished.
        rows_changed: resume though files of its rows or images have changed, once they are checked again.
        folder: the workspace, with `runs/`, `models/` and `data/`; default: the current folder.
        on_progress: gets every event, among them a `RunEvent` and a `StepEvent` for each logged step.
        launcher: `slurm` submits a job, `ray` runs on a Ray cluster.
        site: site file of a Slurm cluster, read again also to resume; default: that of the run, else this user's.
        submit: False: write the job's script only.
        ray_address: where a Ray cluster takes jobs.
        options: further fields of `TrainRequest`.

    Returns:
        The run: finished, or with its job submitted.

    Raises:
        UsageError: options exclude one another.
        VircError: something is missing or wrong, or the engine failed.
        KeyboardInterrupt: it was stopped; `resume=True` continues it.
    """
    report, workspace = Reporter(on_progress), Path(folder) if folder else Path.cwd()
    system = str(system)
    options |= {name: Path(options[name]) for name in ("config", "protocol") if options.get(name)}
    if resume:
        run = _to_resume(system, stage, name, workspace)
        report.send(RunEvent("note", f"resuming {run.name}", run=run))
        if rows_changed:
            again = TrainRequest.of_run(run, None if system == systems.DEFAULT else system)
            prepare.prepare(again, report, begun=run)
        continued.change_settings(run, settings or {}, options.get("assignments", ()), report)
        begun_by = runs.info(run).launcher
        if site and begun_by != "slurm":
            raise UsageError(f"a site file is for Slurm, and {run.name} was begun with the launcher {begun_by}")
        if ray_address:
            jobs.move(run, ray_address)
    elif rows_changed:
        raise UsageError("rows of a run that is begun have not changed", "«--resume» «--rows-changed»")
    elif stage is None:
        raise UsageError("no stage is named", f"virc systems show {system}")
    else:
        rows = Path(data) if data else None
        request = TrainRequest(
            system=system, stage=stage, overlays=tuple(overlays), settings=settings or {}, data=rows,
            base=None if base is None else str(base), name=name, workspace=workspace, launcher=launcher,
            site=Path(site) if site else None, ray_address=ray_address, **options,
        )  # fmt: skip
        prepared = prepare.prepare(request, report, submit=submit)
        run = prepared.run
        text = f"{run.name}: {runs.info(run).rows} rows, from {prepared.base.name}, in {run.folder}"
        report.send(RunEvent("note", text, run=run))
    job = in_job(os.environ)
    if runs.info(run).launcher != "slurm" or job:
        if resume and runs.info(run).launcher == "local":
            continued.refuse_few_gpus(run)
        _train(run, job, report)
        return run
    if resume:
        submitting.check_free(run, submit)
        changes.check_unchanged(run)
        kept = msgspec.to_builtins(inputs.config_of(runs.info(run)))
        submitting.renew(run, kept, Path(site) if site else None, report)
    if submit:
        jobs.submit(run, report)
    return run


def _to_resume(system_name: str, stage: str | None, name: str | None, workspace: Path) -> Run:
    if name:
        return runs.find(workspace, name)
    if stage is None:
        raise UsageError("no run is named to resume", "«--name RUN»; virc runs ls lists them")
    system = systems.get(system_name)
    stages.stage(system, stage)
    for run in reversed(runs.discover(workspace)):
        about = runs.info(run)
        of_stage = (about.system, about.stage) == (system.name, stage)
        if of_stage and runs.state(run).progress in {"new", "stopped", "failed", "died"}:
            return run
    raise ConfigError(f"{system.name} {stage} has no run to resume", "virc runs ls")


def _train(run: Run, job: str | None, report: Reporter) -> None:
    if job:
        hold_notice()
        if runs.state(run).progress == "finished":  # Slurm starts a job again whose node fails as it ends
            report.note(f"the run {run.name} has finished")
            return
        runs.write_state(run, job=job)
    ended = attempt(run, report, job)
    if ended.finished:
        return
    if job and ended.signal == signal.SIGUSR1:
        jobs.requeue(run, job, report)
        return
    saved = f"saved at step {ended.step}" if ended.step else "nothing was saved yet"
    saved += f", {ended.lost} step{'s' * (ended.lost > 1)} lost" if ended.lost else ""
    again = f"virc train --resume --name {run.name} " + ("resumes it" if ended.step else "starts again")
    if ended.unhealthy and ended.signal is None:
        raise EngineError(f"stopped: {ended.unhealthy}; {saved}", f"virc runs diagnose {run.name} says why; {again}")
    report.note(f"stopped, {saved}; {again}")
    if ended.signal == signal.SIGTERM:
        signal.raise_signal(signal.SIGTERM)  # the caller's handler tells it from Ctrl-C
    raise KeyboardInterrupt


def next_commands(run: Run) -> list[str]:
    info, saved = runs.info(run), checkpoints(run)
    if saved and not saved[-1].merged:
        return [f"virc merge {run.name}"]
    commands = []
    try:
        names = list(systems.get(info.system).stages)
    except ConfigError:  # its YAML is gone
        names = []
    if info.stage in names[:-1]:
        following = names[names.index(info.stage) + 1]
        named = "" if info.system == systems.DEFAULT else f" {info.system}"
        commands.append(f"virc train{named} --stage {following} --from {run.name}")
    return [*commands, f"virc solve --model {run.name} IMAGE 'QUESTION'"]
