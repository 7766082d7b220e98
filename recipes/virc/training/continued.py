"""A run that resumes with a later end or on another number of devices: `virc train --resume --set`."""

import json
import shlex
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from virc.core.errors import ConfigError, SetupError, UsageError, errors_as
from virc.core.events import Reporter
from virc.core.files import write_json, write_whole
from virc.engines import registry as engines
from virc.envs import hardware
from virc.runs import attempts, queue
from virc.runs import run as runs
from virc.runs.checkpoints import checkpoints
from virc.runs.run import Info, Run
from virc.stages import resolve as stages
from virc.training import inputs
from virc.training.estimate import fits
from virc.training.estimate.needs import optimizer_steps

CHANGEABLE = ("epochs", "steps", "devices", "gpus")
"""Settings that a run may resume with other values of; the others say what it has learnt so far."""


def change_settings(run: Run, settings: Mapping[str, Any], assignments: Iterable[str], report: Reporter) -> None:
    """Write new settings into a run, which its next attempt trains with.

    Its optimizer and schedule go on: a learning rate that falls has from here on the value that it would have if the
    run had been begun with the new end. Steps and epochs count from the first step of the run.

    Raises:
        UsageError: a setting stays as the run was begun with it.
        ConfigError: the run is in use, has trained further than the new end, or its engine cannot continue so.
    """
    info, changed = runs.info(run), dict(settings)
    for text in assignments:
        changed |= stages.assigned(text, stages.config_type(info.kind))
    if not changed:
        return
    if fixed := [name for name in changed if name not in CHANGEABLE]:
        hint = f"virc train {info.system} --stage {info.stage} --from {run.name} --set ... begins another run"
        raise UsageError(f"«--resume» can set {', '.join(CHANGEABLE)}, and not {', '.join(fixed)}", hint)
    with attempts.alone(run):
        state = runs.state(run)
        job, unanswered = queue.job_of(run, state)
        if unanswered or (job and job.alive) or state.progress == "running" or runs.engine_lives(state):
            raise ConfigError(unanswered or f"{run.name} is running or queued", f"virc runs stop {run.name}")
        _check_devices(changed.get("devices", info.settings["devices"]), run, info)
        new = _config({**({"steps": None} if "epochs" in changed else {}), **changed}, info)
        saved, total = max((each.step for each in checkpoints(run)), default=0), state.total
        if changed.keys() & {"epochs", "steps"}:
            total = optimizer_steps(new, info.rows)
            if total <= saved:
                raise ConfigError(f"{run.name} has trained {saved} steps, and would end at {total}", "a later end")
        _write(run, info, msgspec.to_builtins(new))
        progress: runs.Progress = "stopped" if total != state.total else state.progress
        runs.write_state(run, progress=progress, total=total)
    report.note(f"{run.name} goes on with " + ", ".join(f"{name} {value}" for name, value in changed.items()))


def refuse_few_gpus(run: Run) -> None:
    """Raises SetupError: fewer GPUs are here than the run was begun with; the hint is how it can continue."""
    info, here = runs.info(run), hardware.find(run.workspace)
    config = inputs.config_of(info)
    try:
        fits.refuse_unfit(config, here)
    except SetupError as error:
        if not here.gpus or not checkpoints(run):
            raise
        most = min(len(here.gpus), config.devices)
        for devices in range(most, 0, -1):
            with suppress(ConfigError):
                _check_devices(devices, run, info)
                _config({"devices": devices, "gpus": None}, info)
                hint = f"virc train --resume --name {run.name} --set devices={devices} --set gpus=null"
                raise SetupError(error.message, hint) from None
        raise SetupError(error.message, _new_run_hint(run, info, most)) from None


def _config(changed: Mapping[str, Any], info: Info) -> Any:
    old = inputs.config_of(info)
    with errors_as(ConfigError, f"{info.name} cannot go on so", caught=msgspec.ValidationError):
        new = msgspec.convert({**msgspec.to_builtins(old), **changed}, type(old), strict=False)
    for fault in engines.faults(info.kind, new):
        raise ConfigError(f"{info.name} cannot go on so: {fault.message}", fault.hint)
    return new


def _check_devices(devices: int, run: Run, info: Info) -> None:
    """Raises ConfigError: the engine resumes only on as many devices as saved."""
    saved = info.settings["devices"]
    if devices != saved and checkpoints(run) and (info.kind == "rl" or info.settings.get("zero")):
        engine = "verl" if info.kind == "rl" else "DeepSpeed"
        hint = _new_run_hint(run, info, devices)
        raise ConfigError(f"{engine} resumes on as many devices as saved: {saved} a node", hint)


def _new_run_hint(run: Run, info: Info, devices: int) -> str:
    """The commands for a new run on so many devices that starts with the weights of this one."""
    is_model = checkpoints(run)[-1].merged
    merge, model = ("", run.name) if is_model else (f"virc merge {run.name}, then ", "the folder that it prints")
    settings = shlex.quote(str(Path(runs.FOLDER) / run.name / "settings.yaml"))
    options = f"--set devices={devices}" + (" --set gpus=null" if info.settings.get("gpus") else "")
    train = f"virc train {info.system} --stage {info.stage} --from {model} --config {settings} {options}"
    return f"{merge}{train} starts a new run from its weights"


def _write(run: Run, info: Info, settings: Mapping[str, Any]) -> None:
    changed = {name: value for name, value in settings.items() if value != info.settings.get(name)}
    origins = {name: f"--resume --set, {json.dumps(info.settings.get(name))} before" for name in changed}
    new = msgspec.structs.replace(info, settings={**info.settings, **changed}, origins={**info.origins, **origins})
    file = run.folder / "settings.yaml"
    head = file.read_text("utf-8").partition("\n")[0]
    write_whole(file, f"{head}\n{inputs.settings_text(new)}".encode())
    write_json(run.folder / "run.json", new)
