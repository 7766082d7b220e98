"""The beginning of a run: everything is found and checked first; then its folder appears, whole."""

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from virc.core import processes
from virc.core.errors import ConfigError, DataError, SetupError, UsageError
from virc.core.files import expanded, write_json, write_whole
from virc.core.locks import held
from virc.core.parallel import cores
from virc.data.formats.registry import Source
from virc.engines import registry as engines
from virc.envs import environment as environments
from virc.envs import making
from virc.envs.hardware import Machine
from virc.envs.pins import Environment, pinned
from virc.models import chat_protocol
from virc.models import sizes as shape
from virc.reasoning.protocol import FILE_NAME
from virc.runs import run as runs
from virc.runs.run import Info, Run
from virc.stages import resolve as stages
from virc.stages.resolve import Resolved
from virc.systems import registry as systems
from virc.tools import registry as tools
from virc.training import inputs as training
from virc.training.estimate import fits
from virc.training.estimate.registry import ESTIMATORS
from virc.training.estimate.sft import USUAL, Estimate
from virc.training.inputs import Base
from virc.training.preflight import process as preflight
from virc.training.preflight.types import Result, RlRequest, SftRequest
from virc_cli.console import left_out, output, progress
from virc_cli.training import rewarding


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for.

    Args:
        base: a model or run to start from, over what the stage says.
        data: a file of rows, over what the stage says; rows that the system validates on are then left out.
        config: a YAML of settings.
        protocol: a file with the chat protocol of the rows.
        name: of the run.
        judge_endpoint: address of the judge of the reward, which then takes no GPU of this stage.
        stop_on: signs of ill health that end the run, over what the stage says.
        tools: `+NAME` each: tools that the chat protocol of the rows is to get beside its own.
    """

    system: str
    stage: str
    overlays: tuple[str, ...] = ()
    base: str | None = None
    data: Path | None = None
    config: Path | None = None
    assignments: tuple[str, ...] = ()
    protocol: Path | None = None
    name: str | None = None
    judge_endpoint: str | None = None
    stop_on: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What a stage needs, as it is on this machine."""

    resolved: Resolved
    base: Base
    result: Result
    environment: Environment
    python: Path


def settings(wanted: Wanted) -> Resolved:
    """The stage's settings, its engine's own keys and the words of its system checked too.

    Raises:
        UsageError, ConfigError: as `stages.resolve`, the engine's `check` and `chat_protocol.of_system` do.
    """
    system = systems.get(wanted.system)
    chat_protocol.of_system(system)
    given = _given(wanted, stages.stage(system, wanted.stage).kind)
    resolved = stages.resolve(system, wanted.stage, wanted.overlays, wanted.config, wanted.assignments, given)
    if wanted.data:
        resolved = _without_the_systems_validation(resolved)
    engine = engines.of_kind(resolved.kind).plan
    checked = engine.check(resolved.config.engine, resolved.origins)
    for fault in engine.faults(resolved.config):
        raise ConfigError(fault.message, fault.hint)
    config = msgspec.structs.replace(resolved.config, engine=checked)
    return msgspec.structs.replace(resolved, config=config)


def _given(wanted: Wanted, kind: str) -> dict[str, Any]:
    """The settings that options of their own stand for.

    Raises:
        UsageError: one of them means nothing to stages of that kind.
    """
    of_rl = {
        "--judge-endpoint": wanted.judge_endpoint,
        "--stop-on": wanted.stop_on,
        "--tools": wanted.tools,
    }
    foreign = next((name for name, value in of_rl.items() if value and kind != "rl"), None)
    if foreign:
        raise UsageError(f"{foreign} is for stages of kind rl, and {wanted.stage} is of kind {kind}")
    given: dict[str, Any] = {}
    if wanted.base:
        given |= {"base": wanted.base, "after": None}
    if wanted.data:
        given |= {"data": str(expanded(wanted.data).absolute())}
    if wanted.judge_endpoint:
        given |= {"reward": {"judge": {"endpoint": wanted.judge_endpoint}}, "judge_gpus": 0}
    if wanted.stop_on:
        given |= {"stop_on": list(wanted.stop_on)}
    return given


def _without_the_systems_validation(resolved: Resolved) -> Resolved:
    """Other rows are not validated on the system's own, which need not even lie here; those that are named stay."""
    of_system = {
        name for name in ("validation", "test_freq") if resolved.origins.get(name) == resolved.system.name
    }
    if "validation" not in of_system:
        return resolved
    config = msgspec.structs.replace(resolved.config, **dict.fromkeys(of_system))
    return msgspec.structs.replace(
        resolved, config=config, origins={**resolved.origins, **dict.fromkeys(of_system, "option")}
    )


def environment_of(resolved: Resolved) -> Environment:
    """The environment that the stage's engine runs in."""
    return making.find(resolved.kind, resolved.config.device)


def interpreter(resolved: Resolved, environment: Environment) -> Path:
    """The environment's interpreter; the environment is made where there is none.

    Raises:
        SetupError: it cannot work here, or lacks a package that the settings need.
        EngineError: it could not be made.
    """
    python = making.made(environment, output.note)
    _check_packages(resolved, environment, python)
    return python


def _preflight(
    wanted: Wanted, resolved: Resolved, base: Base, source: Source, folder: Path, probe: int
) -> SftRequest:
    """What to look at in the rows of a stage."""
    config = resolved.config
    return SftRequest(
        source=source,
        base=base.folder,
        name=base.name,
        cutoff=config.cutoff_len,
        min_pixels=config.min_pixels,
        max_pixels=config.max_pixels,
        filter_overlong=config.filter_overlong,
        probe=probe,
        folder=folder,
        mixed_coordinates=config.mixed_coordinates,
        protocol=wanted.protocol and expanded(wanted.protocol).absolute(),
        chat_protocol=chat_protocol.of_system(resolved.system).protocol if resolved.system.worded else None,
        loads=_own(resolved),
        workers=cores(),
    )


def find(
    wanted: Wanted,
    resolved: Resolved,
    folder: Path,
    here: Machine | None,
    probe: int = 0,
    home: Path | None = None,
) -> Found:
    """Everything the stage needs; what is cheap to find out comes before gigabytes are installed.

    Args:
        folder: for the rows to train on, where those are not all; of RL, for all.
        home: where that folder will lie, if not there.
        probe: train on this many of the longest only.
        here: this machine, where it is to run on it.

    Raises:
        VircError: something is missing or wrong; nothing was begun.
    """
    fits.refuse_no_judge(resolved.config)
    base = training.base(resolved, Path.cwd())
    left_out.note([Path(resolved.config.data)])
    source = training.rows(resolved, Path.cwd())
    if here:
        fits.refuse_few_gpus(resolved.config, here)
    if resolved.kind == "rl":
        rewarding.check_judge(resolved, source, here is not None)
    environment = environment_of(resolved)
    python = interpreter(resolved, environment)
    request: SftRequest | RlRequest
    if resolved.kind == "rl":
        places, asked = (folder, home or folder), rewarding.tools_of(resolved, wanted.tools)
        request = rewarding.request(
            resolved, base, source, places, probe, wanted.protocol, asked, _own(resolved)
        )
    else:
        request = _preflight(wanted, resolved, base, source, folder, probe)
    step = preflight.step(request, python, environments.recipes_in(environment))
    with progress.shown() as show:
        result = preflight.read(processes.output(step, show))
    return Found(resolved=resolved, base=base, result=result, environment=environment, python=python)


def _own(resolved: Resolved) -> tuple[str, ...]:
    """The files of the tools of their own that systems name."""
    beside = resolved.system.file.parent
    return tuple(str(file) for name in resolved.system.offered if (file := tools.file_of(name, beside)))


@contextmanager
def beginning(wanted: Wanted, resolved: Resolved) -> Iterator[tuple[Run, Path]]:
    """A run to be, and a folder that becomes the run's when the block ends well.

    Raises:
        ConfigError: the name is taken.
    """
    run = runs.new(Path.cwd(), wanted.name, resolved.name)
    run.folder.parent.mkdir(parents=True, exist_ok=True)
    partial = run.folder.with_name(f".{run.name}.new")
    with held(run.folder):
        runs.new(Path.cwd(), run.name, resolved.name)  # again: another may have begun it meanwhile
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        try:
            yield run, partial
            partial.rename(run.folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def write(run: Run, partial: Path, found: Found, launcher: str, site: Mapping[str, Any]) -> Info:
    """Write what the run is into its folder to be."""
    about = _info(run, partial, found, launcher, site)
    if found.resolved.kind == "rl":
        code = rewarding.write(run, partial, found.resolved, found.base, found.result)
        about = msgspec.structs.replace(about, code=code)
    write_json(partial / "run.json", about)
    write_whole(partial / "settings.yaml", training.settings_text(found.resolved).encode())
    write_json(partial / FILE_NAME, found.result.protocol)
    packages = _packages(found.environment, found.python)
    lines = [f"{name}=={version}\n" for name, version in sorted(packages.items())]
    write_whole(partial / "environment.txt", "".join(lines).encode())
    return about


def _info(run: Run, partial: Path, found: Found, launcher: str, site: Mapping[str, Any]) -> Info:
    resolved, base, result = found.resolved, found.base, found.result

    def moved(path: Path) -> str:
        return str(run.folder / path.relative_to(partial) if path.is_relative_to(partial) else path)

    return Info(
        name=run.name, system=resolved.system.name, stage=resolved.stage,
        kind=resolved.kind, overlays=resolved.overlays,
        created=datetime.now(UTC).isoformat(timespec="seconds"), base=str(base.folder),
        adapter=str(base.adapter) if base.adapter else None, root=base.root, data=moved(result.file),
        dataset=result.dataset, entry=result.entry, media=moved(result.media), rows=result.rows,
        longest=result.longest, validation=str(result.validation) if result.validation else None,
        settings=msgspec.to_builtins(resolved.config), origins=dict(resolved.origins),
        environment=found.environment.name, device=found.environment.device, python=str(found.python),
        recipes=str(environments.recipes_in(found.environment)), launcher=launcher, site=dict(site),
    )  # fmt: skip


def _check_packages(resolved: Resolved, environment: Environment, python: Path) -> None:
    needed = engines.of_kind(environment.engine.name).plan.needs(resolved.config)
    there = _packages(environment, python) if needed else {}
    for package, setting in needed.items():
        if package not in there:
            raise SetupError(
                f"{resolved.name} needs {package}, which the environment {environment.name} does not hold",
                f"--set {setting}, or an environment of your own that has it: virc env use {environment.engine.name}",
            )


def _packages(environment: Environment, python: Path) -> dict[str, str]:
    if environments.registered(environment) is None and not environment.extra:
        return pinned(environment)
    found: dict[str, str] = json.loads(processes.output(environments.versions_step(python)))
    return found


def tell(found: Found) -> None:
    """Say what was found that people should know before hours of training.

    Raises:
        DataError: images would not be shown as the rows' boxes say.
    """
    result = found.result
    if found.resolved.kind == "rl":
        rewarding.check(result, found.resolved.config.reward)
    if result.turned:
        raise DataError(
            f"{result.turned} images are stored turned (EXIF orientation), and LLaMA-Factory would show them so",
            "store them upright: mogrify -auto-orient FILES",
        )
    if result.shrunk and result.protocol.coordinates == "pixel":
        raise DataError(
            f"{result.shrunk} of {result.images} images are over max_pixels ({found.resolved.config.max_pixels}) or "
            "the base's own limit: they would be shown smaller, and boxes in pixels would miss",
            "--set max_pixels=N, or rows whose images are that small: virc data sample --max-pixels N makes such",
        )
    output.note(
        f"{result.rows} rows, {result.images} images; tokens a row: mean {result.mean:.0f}, 99 % at most "
        f"{result.percentiles[2]}, longest {result.longest}"
    )
    if result.dropped:
        most = ESTIMATORS[found.resolved.kind].longest(found.resolved.config)
        output.warn(f"{result.dropped} rows longer than {most} tokens are left out")
    for kind, count in result.faults.items():
        output.warn(
            f"{count} of {result.looked_at} rows looked at closely have the fault {kind}", "virc data check"
        )
    if result.otherwise:
        output.warn(f"{result.otherwise} rows have another system message than the chat protocol's")


def estimated(found: Found, here: Machine) -> Estimate:
    """What the stage needs, counted for its rows."""
    result = found.result
    return ESTIMATORS[found.resolved.kind].estimate(
        found.resolved.config,
        shape.of_folder(found.base.folder),
        result.longest,
        result.rows,
        result.total,
        gpu=here.gpus[0].name if here.gpus else USUAL,
    )


def check_machine(found: Found, here: Machine, launcher: str) -> None:
    """Say what the stage needs, and refuse what does not fit this machine; a job's machine is not this one.

    Raises:
        SetupError: too few devices, too little memory or disk.
    """
    needed = estimated(found, here)
    output.note(in_short(needed, found.resolved))
    if launcher == "local":
        fits.refuse_unfit(needed, found.resolved.config, here)


def in_short(needed: Estimate, resolved: Resolved) -> str:
    """An estimate in one line."""
    device = "of main memory" if resolved.config.device == "cpu" else "a GPU"
    size = needed.host_gib if resolved.config.device == "cpu" else needed.device_gib
    parts = [f"about {size:.3g} GiB {device}"]
    if needed.disk_gib is not None:
        parts.append(f"{needed.disk_gib:.3g} GiB of disk")
    if needed.steps is not None:
        parts.append(f"{needed.steps} step{'s' * (needed.steps > 1)}")
    if needed.judge_calls:
        parts.append(f"{needed.judge_calls[0]:,} to {needed.judge_calls[1]:,} questions to the judge a step")
    if needed.gpu_hours is not None:
        parts.append(f"{needed.gpu_hours:.3g} GPU-hours at {needed.assumed}")
    return ", ".join(parts)
