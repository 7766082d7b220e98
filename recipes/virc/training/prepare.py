"""Prepares a run: everything is found and checked first, then its folder appears as a whole.

`training.api` calls in this order: `new_run` (a folder in progress), `prepare` (weights, environment, rows),
`check_rows` and `check_machine` (what would go wrong, what it needs), `write` (the files of the run). `preview` makes
the same checks for a dry run, and `check_again` repeats them for a run whose rows have changed.
"""

import json
import netrc
import os
import shlex
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from virc.backends import checkpoint
from virc.core import processes
from virc.core.errors import ConfigError, DataError, SetupError
from virc.core.events import Reporter
from virc.core.files import expanded, write_json, write_whole
from virc.core.locks import held
from virc.core.work.parallel import cores
from virc.data.check.plain import other_than
from virc.data.formats.registry import RowsFile, left_out
from virc.engines import registry as engines
from virc.envs import environment as environments
from virc.envs import making
from virc.envs.hardware import Machine
from virc.envs.pins import Environment, pinned
from virc.models import chat_protocol, sizes
from virc.models.chat_protocol import read_protocol
from virc.models.registry import Weights, meaning
from virc.reasoning.protocol import FILE_NAME
from virc.rewards import user_code
from virc.runs import attempts
from virc.runs import run as runs
from virc.runs.run import Info, Run
from virc.stages.resolve import Resolved
from virc.systems import registry as systems
from virc.systems import texts
from virc.systems.kinds import runs_in
from virc.tools import registry as tools
from virc.training import changes, inputs, rl_setup, tool_packages
from virc.training.estimate import fits
from virc.training.estimate.needs import USUAL, Estimate, estimate
from virc.training.inputs import Base
from virc.training.preflight import order
from virc.training.preflight import process as preflight
from virc.training.preflight.types import PairsRequest, Request, Result, RlRequest, SftRequest
from virc.training.request import TrainRequest


class PreparedRun(msgspec.Struct, frozen=True, kw_only=True):
    """What a stage needs, found and checked on this machine; `sources` are the files that its rows come from."""

    resolved: Resolved
    base: Base
    result: Result
    environment: Environment
    python: Path
    request: TrainRequest
    sources: tuple[Path, ...] = ()


def environment_of(resolved: Resolved) -> Environment:
    return making.find(runs_in(resolved.kind).environment, resolved.config.device)


def prepare(
    request: TrainRequest, resolved: Resolved, folder: Path, here: Machine | None, report: Reporter,
    home: Path | None = None,
) -> PreparedRun:  # fmt: skip
    """Find and check everything the stage needs; cheap checks come before gigabytes are installed.

    Args:
        folder: gets the rows to train on, if they are not the source's own file; for RL, always.
        home: where that folder will be once the run exists; None: where it is.
    """
    config = resolved.config
    fits.refuse_no_judge(config, resolved.system.overlays)
    base = inputs.base(resolved, request.workspace)
    inputs.check_weights(base)
    resolved = inputs.with_adapter(resolved, base)
    config = resolved.config
    if missing := left_out(Path(config.data)):
        more = ", …" if len(missing) > 3 else ""
        report.note(f"{config.data}: {len(missing)} files are not here: {', '.join(missing[:3])}{more}")
    source = inputs.rows(resolved, request.workspace)
    if here:
        fits.refuse_unfit(config, here, overlays=resolved.system.overlays)
    if resolved.kind == "rl":
        rl_setup.check_judge(resolved, source, here is not None, report)
    check_trackers(resolved)
    environment = environment_of(resolved)
    python = making.made(environment, report.send)
    _check_packages(resolved, environment, python)
    to_check = rows_request(request, resolved, base, source, (folder, home or folder))
    tool_packages.check_tool_packages(to_check, resolved.name, environment, python)
    if isinstance(to_check, RlRequest) and to_check.rollout == "multi_turn" and here:
        to_check = msgspec.structs.replace(to_check, tries_tools=True)
    result = counted(to_check, python, environments.recipes_in(environment), report)
    row_sources = [to_check.source]
    if isinstance(to_check, RlRequest) and to_check.validation:
        row_sources.append(to_check.validation)
    return PreparedRun(
        resolved=resolved, base=base, result=result, environment=environment, python=python, request=request,
        sources=tuple(file for each in row_sources for file in each.shards or (each.file,)),
    )  # fmt: skip


def rows_request(
    request: TrainRequest, resolved: Resolved, base: Base, source: RowsFile, folders: tuple[Path, Path]
) -> Request:
    """What to check in the rows of a stage; `folders` are `folder` and `home` as of `prepare`."""
    config, system_folder = resolved.config, resolved.system.file.parent
    common: dict[str, Any] = {
        "source": request.reading(source),
        "base": base.folder,
        "name": base.name,
        "max_pixels": config.max_pixels,
        "filter_overlong": config.filter_overlong,
        "protocol": request.protocol and expanded(request.protocol).absolute(),
        "loads": tuple(tools.source(name, system_folder) for name in resolved.system.offered),
        "workers": cores(),
        "curriculum": config.curriculum,
        "seed": config.seed if config.order == "shuffled" else None,
    }
    if resolved.kind == "rl":
        return rl_setup.rows_request(request, resolved, base, folders, common)
    common |= {
        "cutoff": config.cutoff_len,
        "min_pixels": config.min_pixels,
        "folder": folders[0],
        "mixed_coordinates": config.mixed_coordinates,
        "chat_protocol": chat_protocol.of_system(resolved.system).protocol if resolved.system.worded else None,
    }
    return PairsRequest(**common, feedback=config.loss == "kto") if resolved.kind == "dpo" else SftRequest(**common)


def counted(request: Request, python: Path, recipes: Path, report: Reporter) -> Result:
    """Check and count the rows in a process of the engine's environment."""
    for line in request.source.reasons:
        report.note(line)
    return preflight.read_failure(processes.output(preflight.step(request, python, recipes), report.progress))


@contextmanager
def new_run(request: TrainRequest, resolved: Resolved) -> Iterator[tuple[Run, Path]]:
    """The run to be, and a folder that becomes the run's if the block ends without an error; else it is deleted."""
    run = future_run(request, resolved)
    with scratch(run.folder.with_name(f".{run.name}.new"), run.folder) as partial:
        runs.new(request.workspace, run.name, resolved.name)  # another process may have begun it meanwhile
        yield run, partial
        partial.rename(run.folder)


def future_run(request: TrainRequest, resolved: Resolved) -> Run:
    """The run to be, whose name means no other model. Raises ConfigError: the name that was asked for is taken."""
    return runs.new(
        request.workspace, request.name, resolved.name,
        lambda name: meaning(name, request.workspace, resolved.system),
    )  # fmt: skip


@contextmanager
def scratch(folder: Path, lock: Path) -> Iterator[Path]:
    """A new folder in `runs/`, held by a lock; it is deleted when the block ends, and so is an empty `runs/`."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        with held(lock):
            shutil.rmtree(folder, ignore_errors=True)  # what a killed process left
            folder.mkdir()
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)
    finally:
        with suppress(OSError):  # it is not empty
            folder.parent.rmdir()


def write(
    run: Run, partial: Path, prepared: PreparedRun, launcher: str, site: Mapping[str, Any], site_file: str | None = None
) -> Info:
    resolved, base, result = prepared.resolved, prepared.base, prepared.result
    code = write_read(run, partial, resolved, base, result)
    file, media = (str(moved(each, partial, run.folder)) for each in (result.file, result.media))
    validation = str(moved(result.validation, partial, run.folder)) if result.validation else None
    info = Info(
        name=run.name, system=resolved.system.name, stage=resolved.stage,
        kind=resolved.kind, overlays=resolved.overlays,
        created=datetime.now(UTC).isoformat(timespec="seconds"), base=str(base.folder),
        adapter=str(base.adapter) if base.adapter else None, root=base.root, data=file,
        dataset=result.dataset, entry=result.entry, media=media, rows=result.rows,
        ignore=prepared.request.ignore, trust_rows=prepared.request.trust_rows, longest=result.longest,
        validation=validation,
        settings=msgspec.to_builtins(resolved.config), origins=dict(resolved.origins),
        environment=prepared.environment.name, device=prepared.environment.device, python=str(prepared.python),
        recipes=str(environments.recipes_in(prepared.environment)), code=code, launcher=launcher, site=dict(site),
        site_file=site_file,
    )  # fmt: skip
    write_json(partial / "run.json", info)
    write_whole(partial / "settings.yaml", inputs.settings_text(resolved).encode())
    packages = _packages(prepared.environment, prepared.python)
    lines = [f"{name}=={version}\n" for name, version in sorted(packages.items())]
    write_whole(partial / "environment.txt", "".join(lines).encode())
    return info


def check_again(run: Run, system: str | None, report: Reporter) -> None:
    """Check the changed rows of a run, which then continues with them; `system`: its file, if it is not installed.

    Raises:
        VircError: they cannot be trained on, or more than rows and images has changed.
    """
    changes.check_unchanged(run, accepted=changes.OF_ROWS)
    info = runs.info(run)
    config = msgspec.structs.replace(inputs.config_of(info), base=info.adapter or info.base, after=None)
    resolved = Resolved(systems.get(system or info.system), info.stage, config, info.origins, info.overlays)
    request = TrainRequest(
        system=resolved.system.called, stage=info.stage, ignore=info.ignore, trust_rows=info.trust_rows,
        workspace=run.workspace,
        protocol=None if info.kind == "rl" else run.folder / FILE_NAME,
    )  # fmt: skip
    home = run.folder / "data"
    with attempts.alone(run), scratch(run.folder.with_name(f".{run.name}.new"), run.folder) as partial:
        prepared = prepare(request, resolved, partial / "data", None, report, home=home)
        check_rows(prepared, report)
        if (partial / "data").is_dir():
            shutil.rmtree(home, ignore_errors=True)
            (partial / "data").rename(home)
        result = prepared.result
        file, media = (str(moved(each, partial, run.folder)) for each in (result.file, result.media))
        info = msgspec.structs.replace(
            info, data=file, media=media, dataset=result.dataset, entry=result.entry, rows=result.rows,
            longest=result.longest,
        )  # fmt: skip
        write_json(run.folder / "run.json", info)
        changes.write_digests(run, info, run.folder, prepared.sources)
    report.note(f"{run.name} goes on with {result.rows} rows as they are now")


def moved(path: Path, partial: Path, home: Path) -> Path:
    """Where a path will be once the folder `partial` is `home`."""
    return home / path.relative_to(partial) if path.is_relative_to(partial) else path


def write_read(run: Run, partial: Path, resolved: Resolved, base: Base, result: Result) -> dict[str, str]:
    """Write the files that the run's processes read, except rows; returns name -> SHA-256 of copies of user code."""
    write_json(partial / FILE_NAME, result.protocol)
    if resolved.kind == "rl":
        return rl_setup.write(run, partial, resolved, base, result)
    tool_files = user_code.own_tools(resolved.system.file.parent, result.protocol.tools)
    return user_code.copy(tool_files, partial / user_code.CODE)


def _check_packages(resolved: Resolved, environment: Environment, python: Path) -> None:
    needed = engines.of_kind(resolved.kind).plan.needs(resolved.config)
    installed = _packages(environment, python) if needed else {}
    for package, setting in needed.items():
        if package not in installed:
            raise SetupError(
                f"{resolved.name} needs {package}, which the environment {environment.name} does not have",
                f"--set {setting}, or your own environment that has it: virc env use {environment.engine.name}",
            )


def _packages(environment: Environment, python: Path) -> dict[str, str]:
    """Package -> version, asked of the interpreter only if its packages are not those that virc pins."""
    if environments.registered(environment) is None and not environment.extra:
        return pinned(environment)
    packages: dict[str, str] = json.loads(processes.output(environments.versions_step(python)))
    return packages


def check_rows(prepared: PreparedRun, report: Reporter) -> None:
    """Report what the check of the rows found.

    Raises:
        DataError: a reward cannot score rows, or images would be shown at another size than the rows' boxes are in.
    """
    result, config = prepared.result, prepared.resolved.config
    check_texts(prepared.resolved, report)
    if prepared.resolved.kind == "rl":
        rl_setup.check_reward(result, prepared.resolved, report)
    if result.rewritten:
        kinds = ", ".join(f"{why} {count}" for why, count in sorted(result.rewritten.items()))
        pictures = f"{sum(result.rewritten.values())} of {result.images} images"
        report.note(f"{pictures} are written as solving shows them, and not as LLaMA-Factory would ({kinds})")
    _check_sizes(prepared, report)
    if prepared.request.ignore:
        report.note(f"columns left out: {', '.join(prepared.request.ignore)}")
    unit, mean = "rows", f"tokens a row: mean {result.mean:.0f},"
    if prepared.resolved.kind == "dpo" and config.sides == 2:
        unit, mean = "pairs", f"tokens of both sides: mean {result.mean:.0f}; of the longer side:"
    longest = f"99 % at most {result.percentiles[2]}, longest {result.longest}"
    report.note(f"{result.rows} {unit}, {result.images} images; {mean} {longest}")
    if config.curriculum:
        report.note(order.text(result.parts, config.curriculum, config.order))
    elif config.order == "written":
        report.note("rows are taken in the order of the file")
    if result.dropped:
        report.warn(f"{result.dropped} rows longer than {config.longest} tokens are left out")
    checks = f"virc data check {_rows(prepared)}"
    for kind, count in result.faults.items():
        report.warn(f"{count} of {result.looked_at} rows checked closely have the fault {kind}", checks)
    if prepared.resolved.system.offered and not result.protocol.tools:
        report.note("the rows call no tools, and so will the model: they are learnt as questions and answers")
    elif warning := _other_than_system(prepared) or _other_protocol(prepared):
        report.warn(*warning)
    if result.otherwise:
        report.warn(f"{result.otherwise} rows have another system message than the chat protocol's")


def check_texts(resolved: Resolved, report: Reporter) -> None:
    """Raises ConfigError: a published text that the system refers to is not here, or is another one."""
    system = resolved.system
    texts.check_texts(system.file.parent)
    asking = rl_setup.asking_terms(resolved) if resolved.kind == "rl" and resolved.config.reward.total else ()
    questions = rl_setup.published_questions(asking)
    for question in questions:
        question.said()  # raises
    folders = [system.file.parent, *(question.file.parent for question in questions if question.file)]
    if reworded := next(filter(texts.is_own_wording, folders), None):
        hint = f"without --own-words, after virc download texts --system {texts.system_of(reworded)}"
        report.warn(f"{system.name} is trained in our own words, not in those of the authors", hint)


def _check_sizes(prepared: PreparedRun, report: Reporter) -> None:
    """Report images that are shown smaller. Raises DataError: boxes in pixels would not fit them any more."""
    result, config, base = prepared.result, prepared.resolved.config, prepared.base
    base_limit = checkpoint.image_grid(checkpoint.image_settings(base.folder)).max_pixels
    at_limit = config.max_pixels >= base_limit
    limit = f"the {base_limit:,} pixels that {base.name} sees" if at_limit else f"max_pixels, {config.max_pixels:,}"
    no_use = f"--set max_pixels cannot raise the limit of {base.name}, {base_limit:,} pixels"
    if not result.shrunk:
        if config.max_pixels > base_limit and prepared.resolved.origins.get("max_pixels") == "--set":
            report.note(no_use)
        return
    shrunk = f"{result.shrunk} of {result.images} images have more than {limit}"
    rows = _rows(prepared)
    target = {"sft": "sft", "dpo": "pairs"}.get(prepared.resolved.kind)
    target = target or ("rl" if config.rollout == "per_cru" else "prompts")
    convert = f"virc data convert {rows} --to DIR --format {target} --max-pixels {min(base_limit, config.max_pixels)}"
    hint = f"{convert} makes rows that fit; {no_use}" if at_limit else f"--set max_pixels={base_limit}, or {convert}"
    if result.protocol.coordinates != "pixel":
        report.note(f"{shrunk}: they are shown smaller")
    elif result.protocol.tools and result.boxed:
        raise DataError(f"{shrunk}: they would be shown smaller, and boxes in pixels would not fit them", hint)
    else:
        report.warn(f"{shrunk}: they are shown smaller, and boxes in pixels, if replies have some, do not fit", hint)


def _rows(prepared: PreparedRun) -> str:
    """The rows as they are named on a command line."""
    data = prepared.resolved.config.data
    return shlex.quote(data if expanded(data).exists() else str(next(iter(prepared.sources), prepared.result.file)))


def _other_than_system(prepared: PreparedRun) -> tuple[str, str] | None:
    """A warning and a hint if the rows teach another chat protocol than the system's; multi-turn RL prompts anew."""
    resolved = prepared.resolved
    if resolved.kind == "rl" and resolved.config.rollout == "multi_turn":
        return None
    target = {"rl": "rl", "dpo": "pairs"}.get(resolved.kind, "sft")
    return other_than(resolved.system, prepared.result.protocol, _rows(prepared), target)


def _other_protocol(prepared: PreparedRun) -> tuple[str, str] | None:
    """A warning and a hint if rows have another chat protocol than the base was trained with, more than added tools."""
    base, rows = prepared.base, prepared.result.protocol
    file = chat_protocol.trained_with(Weights(base.name, base.folder, adapter=base.adapter))
    if file is None:
        return None
    trained = read_protocol(file)
    if chat_protocol.speaks_as(rows, trained, prepared.resolved.system.file.parent):
        return None
    added = [name for name in rows.tools if name not in {*trained.tools, *tools.discover()}]
    options = "".join(f" --tools +{name}" for name in added)
    convert = f"virc data convert {_rows(prepared)} --to DIR --format batch"
    problems = f"DIR/{prepared.result.dataset}.jsonl"
    hint = f"{convert}, then virc data sample {problems} --to NEW --endpoint URL --protocol {file}{options}"
    return f"the rows are in another chat protocol than {base.name} was trained with, which it has to learn again", hint


def estimated(prepared: PreparedRun, here: Machine) -> Estimate:
    resolved, result, shape = prepared.resolved, prepared.result, sizes.of_folder(prepared.base.folder)
    first = (resolved.config.gpus or (0,))[0]
    gpu = here.gpus[first].name if first < len(here.gpus) else USUAL
    return estimate(resolved.config, shape, result.longest, result.rows, result.total, gpu=gpu)


def check_machine(prepared: PreparedRun, here: Machine, launcher: str, report: Reporter) -> None:
    """Report what the stage needs. Raises SetupError: it does not fit this machine, and no other one runs it."""
    needed, config = estimated(prepared, here), prepared.resolved.config
    where, size = "a GPU", needed.device_gib
    if config.device == "cpu":
        where, size = "of main memory", needed.host_gib
    parts = [f"about {fits.size_text(size)} {where}"]
    if needed.disk_gib is not None:
        parts.append(f"{fits.size_text(needed.disk_gib)} of disk")
    if needed.steps is not None:
        parts.append(f"{needed.steps} step{'s' if needed.steps > 1 else ''}")
    if needed.judge_calls:
        parts.append(f"{needed.judge_calls[0]:,} to {needed.judge_calls[1]:,} questions to the judge a step")
    if needed.gpu_hours is not None:
        parts.append(f"{needed.gpu_hours:.3g} GPU-hours at {needed.assumed}")
    report.note(", ".join(parts))
    if launcher == "local":
        fits.refuse_unfit(config, here, needed, prepared.resolved.system.overlays)


class _Tracker(msgspec.Struct, frozen=True):
    """A tracker that needs an account.

    Args:
        key, mode: environment variables with its key and its mode.
        without: modes that need no key.
        file: where its own login leaves a key; `host`: the entry in that file, "" for any.
    """

    key: str
    mode: str
    without: tuple[str, ...]
    host: str
    file: str


_TRACKERS = {
    "wandb": _Tracker("WANDB_API_KEY", "WANDB_MODE", ("offline", "disabled", "dryrun"), "api.wandb.ai", ".netrc"),
    "swanlab": _Tracker("SWANLAB_API_KEY", "SWANLAB_MODE", ("offline", "local", "disabled"), "", ".swanlab/.netrc"),
}


def check_trackers(resolved: Resolved) -> None:
    for name in resolved.config.trackers:
        tracker = _TRACKERS.get(name)
        if tracker and not _has_key(tracker) and os.environ.get(tracker.mode) not in tracker.without:
            sentence = f"{resolved.name} reports to {name} (trackers), and there is no {tracker.key} here"
            raise ConfigError(sentence, f"--set trackers=[], or {tracker.mode}=offline in the environment")


def _has_key(tracker: _Tracker) -> bool:
    if os.environ.get(tracker.key):
        return True
    with suppress(OSError, netrc.NetrcParseError):
        hosts = netrc.netrc(str(Path.home() / tracker.file)).hosts
        return bool(hosts) if not tracker.host else tracker.host in hosts
    return False
