"""Continues a run otherwise than it was begun: to a later end, or on another number of devices."""

import json
import math
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from virc.core.errors import ConfigError, SetupError, UsageError
from virc.core.files import write_json, write_whole
from virc.core.text import clause
from virc.engines import registry as engines
from virc.envs import hardware
from virc.runs import attempts, queue
from virc.runs import run as runs
from virc.runs.checkpoints import checkpoints
from virc.runs.run import Info, Run
from virc.training import inputs
from virc.training.estimate import fits
from virc.training.estimate.needs import optimizer_steps

FROM = "virc runs extend"


class Extension(msgspec.Struct, frozen=True):
    """How a run goes on.

    Args:
        step: its newest checkpoint.
        before, total: its last step, before and after the change.
        changed: setting -> its new value.
        rates: learning rates of three steps: the last of the old curve, the first of the new one, and its last. None if
            the rate is constant.
    """

    step: int
    before: int
    total: int
    changed: dict[str, Any]
    rates: tuple[float, float, float] | None = None


def extend(
    run: Run, *, epochs: float | None = None, steps: int | None = None, devices: int | None = None, trial: bool = False
) -> Extension:
    """Change where a run ends, or on how many devices it goes on; `train(resume=True, name=...)` then trains.

    The optimizer's state, the kind of schedule and the steps of its warm-up are kept. A learning rate that falls has
    from here on the value that it would have if the run had been begun with the new end.

    Args:
        epochs, steps: the new end, counted from the first step of the run.
        devices: on each node.
        trial: change nothing.

    Raises:
        UsageError: nothing is to change, or both ends are named.
        ConfigError: the run is running, has no checkpoint, ends there already, or its engine cannot continue so.
    """
    ends = {name: value for name, value in (("epochs", epochs), ("steps", steps)) if value is not None}
    if len(ends) > 1 or not (ends or devices):
        raise UsageError("how is the run to go on?", "--epochs N or --steps N for a later end, --devices N")
    with attempts.alone(run):
        step = _saved_step(run)
        info, state = runs.info(run), runs.state(run)
        if state.progress == "finished" and not ends:
            raise UsageError(f"{run.name} has finished", "--epochs N or --steps N for a later end")
        old = inputs.config_of(info)
        before = total = state.total or optimizer_steps(old, info.rows)
        changed = _on_devices(run, info, devices) if devices else {}
        new = _changed_config(info, {**changed, "steps": None, **ends} if ends else changed)
        if ends:
            if epochs and before != (expected := optimizer_steps(old, info.rows)):
                raise ConfigError(f"the engine counts {before} steps, and the rows would be {expected}", "--steps N")
            total = optimizer_steps(new, info.rows)
            if total <= before:
                wrong = f"{run.name} ends at step {before}, and the new end would be step {total}"
                raise ConfigError(wrong, "a later end")
            new = msgspec.structs.replace(new, warmup_ratio=round(old.warmup_ratio * before / total, 9))
        old_settings = msgspec.to_builtins(old)
        changed = {name: value for name, value in msgspec.to_builtins(new).items() if value != old_settings[name]}
        extension = Extension(step, before, total, changed)
        if total != before and getattr(new, "schedule", "constant") != "constant":
            rates = (_rate(old, before - 1, before), _rate(new, step + 1, total), _rate(new, total - 1, total))
            extension = msgspec.structs.replace(extension, rates=rates)
        if not trial:
            _write(run, info, changed, step)
            runs.write_state(run, progress="stopped", total=total)
    return extension


def _saved_step(run: Run) -> int:
    """The newest checkpoint of a run that nobody trains. Raises ConfigError: it has none, or somebody trains it."""
    state = runs.state(run)
    job, unanswered = queue.job_of(run, state)
    if unanswered or (job and job.alive) or state.progress == "running" or runs.engine_lives(state):
        raise ConfigError(unanswered or f"{run.name} is running or queued", f"virc runs stop {run.name}")
    steps = [each.step for each in checkpoints(run) if each.resumable]
    if not steps:
        raise ConfigError(f"{run.name} has no checkpoint to go on from", f"virc train --resume --name {run.name}")
    return steps[-1]


def _changed_config(info: Info, changed: dict[str, Any]) -> Any:
    old = inputs.config_of(info)
    try:
        new = msgspec.convert({**msgspec.to_builtins(old), **changed}, type(old), strict=False)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{info.name} cannot go on so: {clause(error)}") from error
    for fault in engines.faults(info.kind, new):
        raise ConfigError(f"{info.name} cannot go on so: {fault.message}", "another number of devices")
    return new


def _on_devices(run: Run, info: Info, devices: int) -> dict[str, Any]:
    """The settings to change. Raises ConfigError: the engine resumes only on as many devices as saved."""
    if devices != info.settings["devices"] and (info.kind == "rl" or info.settings.get("zero")):
        engine, saved = "verl" if info.kind == "rl" else "DeepSpeed", info.settings["devices"]
        raise ConfigError(
            f"{engine} resumes on as many devices as saved: {saved} a node", _new_run_hint(run, info, devices)
        )
    return {"devices": devices, "gpus": None}


def _new_run_hint(run: Run, info: Info, devices: int) -> str:
    """The commands for a new run on so many devices that starts with the weights of this one."""
    saved = checkpoints(run)
    is_model = bool(saved and saved[-1].merged)
    merge, model = ("", run.name) if is_model else (f"virc merge {run.name}, then ", "the folder that it prints")
    settings = Path(runs.FOLDER) / run.name / "settings.yaml"
    options = f"--set devices={devices}" + (" --set gpus=null" if info.settings.get("gpus") else "")
    train = f"virc train {info.system} --stage {info.stage} --from {model} --config {settings} {options}"
    return f"{merge}{train} starts a new run from its weights"


def refuse_few_gpus(run: Run) -> None:
    """Raises SetupError: fewer GPUs are here than the run was begun with; the hint is how it can continue."""
    info, here = runs.info(run), hardware.find(run.workspace)
    try:
        fits.refuse_few_gpus(inputs.config_of(info), here)
    except SetupError as error:
        if not here.gpus or not checkpoints(run):
            raise
        most = min(len(here.gpus), info.settings["devices"])
        for devices in range(most, 0, -1):
            with suppress(ConfigError):
                _changed_config(info, _on_devices(run, info, devices))
                raise SetupError(error.message, f"{FROM} {run.name} --devices {devices}") from None
        raise SetupError(error.message, _new_run_hint(run, info, most)) from None


def _rate(config: Any, done: int, total: int) -> float:
    """The learning rate after `done` of `total` steps."""
    warm = math.ceil(config.warmup_ratio * total)
    if done < warm:
        return float(config.learning_rate * done / warm)
    share = (done - warm) / max(1, total - warm)
    falls = 1 - share if config.schedule == "linear" else (1 + math.cos(math.pi * share)) / 2
    return float(config.learning_rate * falls)


def _write(run: Run, info: Info, changed: dict[str, Any], step: int) -> None:
    origins = {name: f"{FROM} at step {step}, {json.dumps(info.settings[name])} before" for name in changed}
    new_lines = {name: f"{name}: {json.dumps(value)}  # {origins[name]}" for name, value in changed.items()}
    lines = (run.folder / "settings.yaml").read_text("utf-8").splitlines()
    text = "".join(f"{new_lines.get(line.partition(':')[0], line)}\n" for line in lines)
    write_whole(run.folder / "settings.yaml", text.encode())
    settings, all_origins = {**info.settings, **changed}, {**info.origins, **origins}
    write_json(run.folder / "run.json", msgspec.structs.replace(info, settings=settings, origins=all_origins))
