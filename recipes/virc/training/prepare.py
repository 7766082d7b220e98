"""Prepares a run: `TrainRequest` -> `Resolved` -> `Prepared`; its folder then appears as a whole, for `api` to start.

`prepare` is the entry. It resolves the request, finds weights, rows and environment (`_found`), checks the rows in the
engine's own Python (`_checked`) and the machine (`check_machine`), and writes the run. A dry run takes the same way
with a list for what is missing, and so does a run whose rows have changed.
"""

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec

from virc.backends import inventory
from virc.cluster import jobs, submitting
from virc.cluster.jobs import Target
from virc.cluster.ray import job as ray_job
from virc.cluster.ray.job import Cluster
from virc.cluster.site import Site
from virc.core import processes
from virc.core.errors import ConfigError, SetupError, UsageError, VircError
from virc.core.events import Reporter
from virc.core.files import DATA, expanded, is_file, write_json
from virc.core.locks import held
from virc.core.module_files import warn_not_copied
from virc.core.plan import Plan
from virc.core.text import counted as count_text
from virc.core.text import sized
from virc.core.work.parallel import cores
from virc.data.check.result import survey
from virc.data.check.row import check_without_images
from virc.data.formats.registry import left_out_note
from virc.engines import registry as engines
from virc.envs import environment as environments
from virc.envs import hardware, making
from virc.envs.hardware import Machine
from virc.envs.pins import pinned
from virc.models import chat_protocol, sizes
from virc.models.registry import Weights, meaning
from virc.rewards import registry as rewards
from virc.rewards import user_code
from virc.rewards.needs import missing_columns
from virc.rewards.sources import speakers
from virc.runs import attempts
from virc.runs import run as runs
from virc.runs.checkpoints import FORMATS
from virc.runs.run import Run
from virc.stages import resolve as stages
from virc.stages.resolve import Resolved
from virc.systems.kinds import runs_in
from virc.tools import registry as tools
from virc.training import changes, inputs, packages, rl_setup, row_report, run_files
from virc.training.estimate import fits, levels
from virc.training.estimate.needs import PEAK, USUAL, UTILISATION, Estimate, estimate
from virc.training.preflight import process as preflight
from virc.training.preflight.sft import check_found
from virc.training.preflight.types import PairsRequest, Request, Result, RlRequest, SftRequest
from virc.training.prepared import Prepared
from virc.training.request import TrainRequest

_PACKAGE = Path(__file__).parents[2]
_MAX_SHOWN = 2**20  # bytes of a file in a plan; a reward may come with large ones


def prepare(
    request: TrainRequest, report: Reporter, *, dry_run: bool = False, submit: bool = True, begun: Run | None = None
) -> Prepared:
    """Find and check everything that a stage needs, and write its run; cheap checks come before gigabytes.

    Args:
        dry_run: make, install and start nothing. `missing` of what is returned has errors about what is not here, and
            `plan` is what the engine would get.
        submit: whether a job will be submitted from this machine.
        begun: the run whose rows have changed, which continues with them if they are as good.

    Raises:
        UsageError: an option does not apply, or a tool is not given as +NAME.
        VircError: settings are wrong, rows cannot be trained on, or, but for a dry run, something is missing.
    """
    target: Target | None = None
    if begun:
        changes.check_unchanged(begun, accepted=changes.OF_ROWS)
        resolved = inputs.begun_with(begun, request.system)
    else:
        resolved = request.resolve()
        target = jobs.target(request.launcher, resolved.kind, request.site, request.ray_address)
        if request.fit and target:
            raise UsageError("«--fit» measures this machine, not those of a cluster", "«--with lora»")
        if request.fit:
            request, resolved = levels.fitted(request, hardware.find(request.workspace), report)
        resolved = rl_setup.with_job_judge(request, resolved, target)
    if isinstance(target, Cluster) and not dry_run:
        ray_job.check_answers(target)
    elif isinstance(target, Site) and submit and not dry_run:
        submitting.check_sbatch()
        submitting.check_site(target, jobs.site_file(request.site), report)
    machine = hardware.find(request.workspace)
    here = None if dry_run or begun or target else machine
    with _folder(request, resolved, dry_run, begun) as (run, folder):
        prepared = _found(request, resolved, target, run, folder, here, [] if dry_run else None, report)
        prepared = _checked(prepared, here is not None, report)
        if begun:
            return _with_changed_rows(prepared, report)
        prepared = check_machine(prepared, machine, report)
        if dry_run:
            return _planned(prepared, report)
        info = run_files.write_run(prepared)
        warn_not_copied(report.warn)
        changes.write_digests(run, info, folder, prepared.sources)
        if target:
            jobs.write(run, folder, info, target, report)
    return prepared


@contextmanager
def _folder(request: TrainRequest, resolved: Resolved, dry_run: bool, begun: Run | None) -> Iterator[tuple[Run, Path]]:
    """The run to be, and a folder that becomes the run's if the block ends without an error; else it is deleted."""
    name, workspace = request.name, request.workspace
    # The name of a run means no other model.
    run = begun or runs.new(workspace, name, resolved.name, lambda each: meaning(each, workspace, resolved.system))
    if dry_run:
        with TemporaryDirectory(prefix="virc-") as scratch:
            yield Run(run.folder.absolute()), Path(scratch)
        return
    folder = run.folder.with_name(f".{run.name}.new")
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        with attempts.alone(run) if begun else nullcontext(), held(run.folder):
            shutil.rmtree(folder, ignore_errors=True)  # what a killed process left
            folder.mkdir()
            try:
                if not begun:
                    runs.new(workspace, run.name, resolved.name)  # another process may have begun it meanwhile
                yield run, folder
                if not begun:
                    folder.rename(run.folder)
            finally:
                shutil.rmtree(folder, ignore_errors=True)
    finally:
        with suppress(OSError):  # it is not empty
            folder.parent.rmdir()


def _found(
    request: TrainRequest, resolved: Resolved, target: Target | None, run: Run, folder: Path, here: Machine | None,
    missing: list[VircError] | None, report: Reporter,
) -> Prepared:  # fmt: skip
    """Find the weights, the rows, the judge and the environment, which is made if it is not there.

    Args:
        here: this machine, if the stage is to start on it now.
        missing: of a dry run, which makes no environment: gets errors about what is missing, in place of raising them.
    """
    is_dry, workspace = missing is not None, request.workspace
    row_report.check_texts(resolved, report)
    added_tools = rl_setup.tools_of(resolved, request.tools)
    if resolved.kind == "rl":
        with noted(missing):
            rl_setup.check_judges(resolved, target, workspace, here is not None, report)
    try:
        base = inputs.base(resolved, workspace, missing)
    except ConfigError as error:
        if isinstance(target, Site) and error.hint:
            error.hint += "; «--launcher slurm» «--dry-run» prints the job without it"
        raise
    if is_file(base.folder / "config.json"):
        inputs.check_weights(base)
        for sentence in inventory.of_model(base.folder, request.ignore).sentences():
            report.note(sentence)
    resolved = inputs.with_adapter(resolved, base, request.ignore)
    config = resolved.config
    environment = making.find(runs_in(resolved.kind).environment, config.device)
    python = environments.interpreter(environment)
    if missing is not None and python is None:
        missing.append(SetupError(f"the environment {environment.name} has not been made", "virc train makes it first"))
    source, validation = inputs.rows(resolved, workspace, missing), None
    if absent := left_out_note(Path(config.data), resolved.system):
        report.note(absent)
    if named := config.validation_name():
        with noted(missing):
            validation = inputs.named_rows(named, resolved, workspace)
    if here:
        fits.refuse_unfit(config, here, overlays=resolved.system.overlays)
    with noted(missing):
        packages.check_trackers(resolved)
    if not is_dry:
        python = making.made(environment, report.send)
    return Prepared(
        request=request, resolved=resolved, run=run, folder=folder, base=base, source=source, validation=validation,
        target=target, environment=environment, python=python or environment.python, added_tools=added_tools,
        recipes=(environments.recipes_place if is_dry else environments.recipes_in)(environment), missing=missing,
    )  # fmt: skip


@contextmanager
def noted(missing: list[VircError] | None, kind: type[VircError] = VircError) -> Iterator[None]:
    """Add an error of the block to `missing`, if there is such a list, in place of raising it."""
    try:
        yield
    except kind as error:
        if missing is None:
            raise
        missing.append(error)


def _checked(prepared: Prepared, starts_here: bool, report: Reporter) -> Prepared:
    """Check and count the rows in a process of the engine's interpreter; of a dry run without one in this one's.

    Rows alone are read where the base or its tokenizer is not here, or this interpreter lacks what is imported.
    """
    resolved, environment, missing = prepared.resolved, prepared.environment, prepared.missing
    python = environments.interpreter(environment) if missing is not None else prepared.python
    base_files, needed = ("config.json", "tokenizer.json"), ("tokenizers", "pyarrow")[: 1 + (resolved.kind == "rl")]
    is_here = all(map(is_file, (prepared.source.file, *(prepared.base.folder / name for name in base_files))))
    if missing is not None and not (is_here and (python or all(map(find_spec, needed)))):
        if is_file(prepared.source.file):
            _read_rows(prepared, report)
        return prepared
    asked, recipes = rows_request(prepared), _PACKAGE
    if python:
        with noted(missing):
            packages.check_packages(resolved, environment, python)
        with noted(missing):
            packages.check_tool_packages(asked, resolved.name, environment, python)
        # The engine's interpreter finds systems of an editable install in the copy alone, which a run would use too.
        recipes = prepared.recipes if missing is None else environments.recipes_in(environment)
    if isinstance(asked, RlRequest) and asked.config.rollout == "multi_turn" and starts_here:
        asked = msgspec.structs.replace(asked, tries_tools=True)
    found = counted(asked, python or Path(sys.executable), recipes, report)
    prepared = msgspec.structs.replace(prepared, checked=found)
    row_report.check_rows(prepared, found, report)
    return prepared


def _read_rows(prepared: Prepared, report: Reporter) -> None:
    """Check rows without their lengths; DataError as of the run."""
    resolved, source = prepared.resolved, prepared.request.reading(prepared.source)
    protocol = chat_protocol.of_system(resolved.system)
    check = partial(check_without_images, holds=source.holds, protocol=protocol)
    if resolved.kind == "rl":
        with suppress(VircError):  # the check of all rows reports it
            total = rewards.of(resolved.config.reward, resolved.system.file.parent)
            for lacks, hint in missing_columns(total, source):
                report.warn(lacks, hint)
    with noted(prepared.missing, SetupError):  # such as parquet without pyarrow
        found = survey(source.rows(), check, lambda number: report.progress(f"row {number} read"))
        check_found(source, found)
        count = count_text(found.rows, "row")
        report.note(f"{count} can be read; lengths and images are checked once nothing is missing")


def rows_request(prepared: Prepared) -> Request:
    """What to check in the rows of a stage."""
    request, resolved, base = prepared.request, prepared.resolved, prepared.base
    config, system_folder = resolved.config, resolved.system.file.parent
    common: dict[str, Any] = {
        "source": request.reading(prepared.source),
        "base": base.folder,
        "name": base.name,
        "protocol": request.protocol and expanded(request.protocol).absolute(),
        "loads": tuple(tools.source(name, system_folder) for name in resolved.system.offered),
        "workers": cores(),
        "folder": (prepared.folder / DATA).absolute(),
        "is_trial": prepared.missing is not None,
    }
    if resolved.kind == "rl":
        weights = Weights(base.name, base.folder, adapter=base.adapter)
        return RlRequest(
            **common,
            config=msgspec.structs.replace(config, reward=rewards.located(config.reward)),
            validation=prepared.validation and request.reading(prepared.validation),
            home=(prepared.run.folder / DATA).absolute(),
            chat_protocol=chat_protocol.of_stage(resolved.system, weights),
            tools=prepared.added_tools,
            beside=system_folder,
            sources=speakers(config),
        )
    worded = chat_protocol.of_system(resolved.system) if resolved.system.worded else None
    kind = PairsRequest if resolved.kind == "dpo" else SftRequest
    return kind(**common, config=config, chat_protocol=worded)


def counted(request: Request, python: Path, recipes: Path, report: Reporter) -> Result:
    """Check and count the rows in a process of the engine's environment."""
    for line in request.source.reasons:
        report.note(line)
    found = preflight.read_failure(processes.output(preflight.step(request, python, recipes), report.progress))
    for line in found.left:
        report.note(line)
    return found


def check_machine(prepared: Prepared, machine: Machine, report: Reporter) -> Prepared:
    """Report what the stage needs, by its rows if they were checked; a dry run may know the base's sizes alone.

    Raises SetupError: it does not fit this machine, or a node of its job; a dry run has it in `over` or `missing`.
    """
    resolved, base, target, missing = prepared.resolved, prepared.base, prepared.target, prepared.missing
    config, overlays = resolved.config, resolved.system.overlays
    is_complete = is_file(base.folder / "config.json")  # a download that was broken off has none
    workspace = prepared.request.workspace
    shape = sizes.of_folder(base.folder) if is_complete else sizes.of_base(stages.root_of(resolved), workspace)
    needed, over, first_save = None, None, None
    if shape:
        found = prepared.checked
        longest, rows, total = (found.longest, found.rows, found.total) if found else (config.longest, None, None)
        of_rows = partial(estimate, config, shape, longest, rows, total)
        first = (config.gpus or (0,))[0]
        needed = of_rows(gpu=machine.gpus[first].name if first < len(machine.gpus) else USUAL)
        if lack := fits.over_target(config, shape, needed, overlays):
            over = fits.refusal(lack)
        fastest = of_rows(gpu=max(PEAK, key=PEAK.__getitem__))
        if fastest.gpu_hours and fastest.steps:  # seconds until a job can have saved anything
            on_request = FORMATS[runs_in(resolved.kind).engine].SAVES_WHEN_ASKED
            share = (1 if on_request else min(config.save_steps, fastest.steps)) / fastest.steps
            first_save = fastest.gpu_hours * UTILISATION * share * 3600 / (config.devices * config.nodes)
    if needed and missing is None:
        report.note(_said(needed, config))
        if over:
            raise over
    if isinstance(target, Site):
        file, host_gib = jobs.site_file(prepared.request.site), needed.host_gib if needed else 0.0
        with noted(missing):
            submitting.check_need(target, file, msgspec.to_builtins(config), host_gib, first_save)
    elif target is None and missing is None:
        fits.refuse_unfit(config, machine, needed, overlays)
    return msgspec.structs.replace(prepared, machine=machine, shape=shape, over=over)


def _said(needed: Estimate, config: Any) -> str:
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
    return ", ".join(parts)


def _planned(prepared: Prepared, report: Reporter) -> Prepared:
    """The first attempt as its engine would get it; nothing is started, and the files of the run are texts."""
    resolved, run, folder, target = prepared.resolved, prepared.run, prepared.folder, prepared.target
    info = run_files.info_of(prepared, run_files.write_code(prepared))
    warn_not_copied(report.warn)
    written = (each for each in sorted(folder.rglob("*")) if each.is_file() and folder / DATA not in each.parents)
    files = {str(run.folder / each.relative_to(folder)): _text(each) for each in written}
    in_code = user_code.variables_in_code(folder, os.environ)
    place = inputs.place_of(info, run, 1, folder)
    plan: Plan = engines.of_kind(resolved.kind).plan.plan(resolved.config, place, resolved.published, resolved.origins)
    plan = msgspec.structs.replace(plan if target else jobs.on_this_machine(plan), files={**plan.files, **files})
    if target:
        plan = jobs.preview(plan, run, info, place, pinned(prepared.environment), target)
        with noted(prepared.missing, SetupError):
            submitting.try_job(plan, run, info, target, report)
    else:
        step = msgspec.structs.replace(plan.step, env={**in_code, **plan.step.env})
        processes.report_removed(step, os.environ, report, user_code.UNLESS)
    return msgspec.structs.replace(prepared, plan=plan)


def _text(file: Path) -> str:
    size = file.stat().st_size
    return file.read_text("utf-8", "replace") if size < _MAX_SHOWN else f"({sized(size)})"


def _with_changed_rows(prepared: Prepared, report: Reporter) -> Prepared:
    """Let a run that was begun continue with its rows as they are now."""
    run, folder = prepared.run, prepared.folder
    if (folder / DATA).is_dir():
        shutil.rmtree(run.folder / DATA, ignore_errors=True)
        (folder / DATA).rename(run.folder / DATA)
    info = msgspec.structs.replace(runs.info(run), **run_files.rows_fields(prepared))
    write_json(run.folder / "run.json", info)
    changes.write_digests(run, info, run.folder, prepared.sources)
    report.note(f"{run.name} goes on with {info.rows} rows as they are now")
    return prepared
