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
        before, total: its last step, as it was and as it is.
        rates: learning rates: of the last step before, of the first that follows the new curve, and of the last one;
            the step between them has what the old curve ended with. None if the rate is constant.
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

    The optimizer's state, the kind of schedule and the steps of its warm-up are kept. A rate that falls does so towards
    the new end: it is as high from here on as if the run had been begun with that end.

    Args:
        epochs, steps: the new end, counted from the first step of the run.
        devices: on each node.
        trial: change nothing.

    Raises:
        UsageError: nothing is to change, or both ends are named.
        ConfigError: it runs, has no checkpoint to go on from, ends there already, or cannot go on so.
    """
    ends = {name: value for name, value in (("epochs", epochs), ("steps", steps)) if value is not None}
    if len(ends) > 1 or not (ends or devices):
        raise UsageError("how is the run to go on?", "--epochs N or --steps N for a later end, --devices N")
    with attempts.alone(run):
        step, (info, state) = _saved(run), (runs.info(run), runs.state(run))
        if state.progress == "finished" and not ends:
            raise UsageError(f"{run.name} has finished", "--epochs N or --steps N for a later end")
        old = inputs.config_of(info)
        before = total = state.total or optimizer_steps(old, info.rows)
        changed = _on_devices(run, info, devices) if devices else {}
        new = _config(info, {**changed, "steps": None, **ends} if ends else changed)
        if ends:
            if epochs and before != (counted := optimizer_steps(old, info.rows)):
                raise ConfigError(f"the engine counts {before} steps, and the rows would be {counted}", "--steps N")
            total = optimizer_steps(new, info.rows)
            if total <= before:
                wrong = f"{run.name} ends at step {before}, and the new end would be step {total}"
                raise ConfigError(wrong, "a later end")
            new = msgspec.structs.replace(new, warmup_ratio=round(old.warmup_ratio * before / total, 9))
        was, now = (msgspec.to_builtins(each) for each in (old, new))
        found = Extension(step, before, total, {name: value for name, value in now.items() if value != was[name]})
        if total != before and getattr(new, "schedule", "constant") != "constant":
            rates = (_rate(old, before - 1, before), _rate(new, step + 1, total), _rate(new, total - 1, total))
            found = msgspec.structs.replace(found, rates=rates)
        if not trial:
            _write(run, info, found.changed, step)
            runs.write_state(run, progress="stopped", total=total)
    return found


def _saved(run: Run) -> int:
    state = runs.state(run)
    job, unanswered = queue.job_of(run, state)
    if unanswered or (job and job.alive) or state.progress == "running" or runs.engine_lives(state):
        raise ConfigError(unanswered or f"{run.name} is running or queued", f"virc runs stop {run.name}")
    steps = [each.step for each in checkpoints(run) if each.resumable]
    if not steps:
        raise ConfigError(f"{run.name} has no checkpoint to go on from", f"virc train --resume --name {run.name}")
    return steps[-1]


def _config(info: Info, changed: dict[str, Any]) -> Any:
    old = inputs.config_of(info)
    try:
        new = msgspec.convert({**msgspec.to_builtins(old), **changed}, type(old), strict=False)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{info.name} cannot go on so: {clause(error)}") from error
    for fault in engines.faults(info.kind, new):
        raise ConfigError(f"{info.name} cannot go on so: {fault.message}", "another number of devices")
    return new


def _on_devices(run: Run, info: Info, devices: int) -> dict[str, Any]:
    """Raises ConfigError: the engine resumes only on as many devices as saved; the hint keeps the weights."""
    if devices != info.settings["devices"] and (info.kind == "rl" or info.settings.get("zero")):
        engine, saved = "verl" if info.kind == "rl" else "DeepSpeed", info.settings["devices"]
        raise ConfigError(f"{engine} resumes on as many devices as saved: {saved} a node", _anew(run, info, devices))
    return {"devices": devices, "gpus": None}


def _anew(run: Run, info: Info, devices: int) -> str:
    saved = checkpoints(run)
    whole = bool(saved and saved[-1].merged)
    first, model = ("", run.name) if whole else (f"virc merge {run.name}, then ", "the folder that it prints")
    settings = Path(runs.FOLDER) / run.name / "settings.yaml"
    others = f"--set devices={devices}" + " --set gpus=null" * bool(info.settings.get("gpus"))
    again = f"virc train {info.system} --stage {info.stage} --from {model} --config {settings} {others}"
    return f"{first}{again} starts a new run from its weights"


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
                _config(info, _on_devices(run, info, devices))
                raise SetupError(error.message, f"{FROM} {run.name} --devices {devices}") from None
        raise SetupError(error.message, _anew(run, info, most)) from None


def _rate(config: Any, done: int, total: int) -> float:
    warm = math.ceil(config.warmup_ratio * total)
    if done < warm:
        return float(config.learning_rate * done / warm)
    share = (done - warm) / max(1, total - warm)
    falls = 1 - share if config.schedule == "linear" else (1 + math.cos(math.pi * share)) / 2
    return float(config.learning_rate * falls)


def _write(run: Run, info: Info, changed: dict[str, Any], step: int) -> None:
    origins = {name: f"{FROM} at step {step}, {json.dumps(info.settings[name])} before" for name in changed}
    written = {name: f"{name}: {json.dumps(value)}  # {origins[name]}" for name, value in changed.items()}
    lines = (run.folder / "settings.yaml").read_text("utf-8").splitlines()
    text = "".join(f"{written.get(line.partition(':')[0], line)}\n" for line in lines)
    write_whole(run.folder / "settings.yaml", text.encode())
    settings, said = {**info.settings, **changed}, {**info.origins, **origins}
    write_json(run.folder / "run.json", msgspec.structs.replace(info, settings=settings, origins=said))
