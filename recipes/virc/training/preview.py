"""What a stage's first attempt would be: its plan and what it needs; nothing is started, made or written.

`preview` goes the way of `prepare` and `attempt` as far as that is possible here: weights, rows, the check of the rows,
the engine's plan, the job. Errors about what is missing (environment, weights, rows) are collected in `missing`, and
the plan names the places where these things would be.
"""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from virc.cluster import jobs, submitting
from virc.cluster.jobs import Target
from virc.cluster.site import Site
from virc.core import processes
from virc.core.errors import SetupError, VircError
from virc.core.events import Reporter
from virc.core.files import DATA, MODELS, expanded, is_file
from virc.core.module_files import warn_not_copied
from virc.core.plan import Plan
from virc.core.text import counted, sized
from virc.data.check.result import survey
from virc.data.check.row import check_without_images
from virc.data.formats import sft as sft_format
from virc.data.formats.registry import RowsFile
from virc.engines import registry as engines
from virc.envs import environment as environments
from virc.envs import hardware
from virc.envs.hardware import Machine
from virc.envs.pins import pinned
from virc.models import chat_protocol, sizes
from virc.models.sizes import Shape
from virc.reasoning.protocol import FILE_NAME
from virc.rewards import registry as rewards
from virc.rewards import sources, user_code
from virc.rewards.sources import speakers
from virc.rewards.trial import missing_columns
from virc.rewards.verl import Settings
from virc.runs.run import Run
from virc.stages import resolve as stages
from virc.stages.context import Place
from virc.stages.resolve import Resolved
from virc.stages.sft import Part
from virc.tools import registry as tools
from virc.training import inputs, prepare, rl_setup, tool_packages
from virc.training.estimate.needs import Estimate, estimate
from virc.training.inputs import Base
from virc.training.preflight.pairs import entry_of
from virc.training.preflight.rl import TRAIN, VALIDATION
from virc.training.preflight.sft import check_found
from virc.training.preflight.types import Result
from virc.training.request import TrainRequest

_PACKAGE = Path(__file__).parents[2]
_MAX_SHOWN = 2**20  # bytes of a file; a reward may come with large ones


class Preview(msgspec.Struct, frozen=True):
    """A stage's first attempt.

    Args:
        needed: estimated for rows as long as the stage allows; a run estimates from its rows when it begins.
        result: of the check of the rows; None: the rows or the base are not here.
        here: this machine; None: a cluster runs the stage.
    """

    resolved: Resolved
    plan: Plan
    shape: Shape | None
    needed: Estimate | None
    here: Machine | None
    missing: list[VircError]
    result: Result | None = None

    @property
    def trained(self) -> dict[Part, int]:
        config = self.resolved.config
        return self.shape.trained(config.lora, config.frozen) if self.shape else {}


def preview(
    request: TrainRequest, resolved: Resolved, target: Target | None, report: Reporter, site: Path | None = None
) -> Preview:
    """Plan a stage's first attempt.

    Raises:
        UsageError, ConfigError: a tool is not given as +NAME or missing, the settings are wrong, or Slurm refuses.
        DataError: the rows are here, and cannot be trained on.
    """
    missing: list[VircError] = []
    prepare.check_texts(resolved, report)
    rl_setup.tools_of(resolved, request.tools)  # refuses what the run would refuse
    base = _base(request, resolved, missing)
    if base_is_here := not missing:
        inputs.check_weights(base)
    resolved = inputs.with_adapter(resolved, base)
    environment = prepare.environment_of(resolved)
    python = environments.interpreter(environment)
    if python is None:
        missing.append(SetupError(f"the environment {environment.name} has not been made", "virc train makes it first"))
    source = _source(request, resolved, missing)
    if resolved.kind == "rl" and is_file(source.file):
        _report_columns(resolved, source, report)
    place = _place(request, resolved, base, source, python or environment.python, missing)
    with TemporaryDirectory(prefix="virc-") as scratch:
        partial, run = Path(scratch), Run(place.output.parent)
        places = (partial, run) if base_is_here else None
        result = places and _checked(request, resolved, base, source, places, python, report, missing)
        if result is None and is_file(source.file):
            _read_all(request.reading(source), resolved, report, missing)
        files = _read_files(request, resolved, place, base, result, partial)
        warn_not_copied(report.warn)
        in_code = user_code.variables_in_code(partial, os.environ)
        if result:  # rows that are written for the run are in its folder
            data, media = (prepare.moved(each, partial, run.folder) for each in (result.file, result.media))
            place = msgspec.structs.replace(place, data=data, media=media, dataset=result.dataset, entry=result.entry)
    plan: Plan = engines.of_kind(resolved.kind).plan.plan(resolved.config, place, resolved.published, resolved.origins)
    plan = msgspec.structs.replace(plan if target else jobs.on_this_machine(plan), files={**plan.files, **files})
    if target:
        plan = _on_cluster(plan, resolved, place, pinned(environment), target, site, missing, report)
    else:
        step = msgspec.structs.replace(plan.step, env={**in_code, **plan.step.env})
        processes.report_removed(step, os.environ, report, user_code.UNLESS)
    with _errors_in(missing):
        prepare.check_trackers(resolved)
    if resolved.kind == "rl":
        with _errors_in(missing):
            rl_setup.check_job_judge(request, resolved, target)
        with _errors_in(missing):
            rl_setup.check_judge(resolved, source if is_file(source.file) else None, here=False, report=Reporter())
    is_complete = is_file(base.folder / "config.json")  # a download that was broken off has none
    shape = sizes.of_folder(base.folder) if is_complete else sizes.published(stages.root_of(resolved))
    needed = estimate(resolved.config, shape, resolved.config.longest) if shape else None
    with _errors_in(missing):
        if isinstance(target, Site):
            host_gib = needed.host_gib if needed else 0.0
            submitting.check_need(target, jobs.site_file(site), msgspec.to_builtins(resolved.config), host_gib)
    here = None if target else hardware.find(request.workspace)
    return Preview(resolved, plan, shape, needed, here, missing, result)


def _on_cluster(
    plan: Plan, resolved: Resolved, place: Place, versions: Mapping[str, str], target: Target, site: Path | None,
    missing: list[VircError], report: Reporter,
) -> Plan:  # fmt: skip
    """The plan within its job, which is tried out if the cluster can be asked."""
    future = Run(place.files.parents[1])
    plan = jobs.preview(plan, future, resolved, place, versions, target)
    try:
        submitting.try_job(plan, future, place, target, site, report)
    except SetupError as error:
        missing.append(error)
    return plan


@contextmanager
def _errors_in(missing: list[VircError]) -> Iterator[None]:
    """Add an error of the block to `missing`, in place of raising it."""
    try:
        yield
    except VircError as error:
        missing.append(error)


def _place(
    request: TrainRequest, resolved: Resolved, base: Base, source: RowsFile, python: Path, missing: list[VircError]
) -> Place:
    run = prepare.future_run(request, resolved)
    place = Place(
        base=base.folder, model_type=base.model_type, adapter=base.adapter, data=source.file.absolute(),
        media=source.media.absolute(), output=run.checkpoints.absolute(), files=run.attempt(1).absolute(),
        python=python, recipes=environments.recipes_place(prepare.environment_of(resolved)),
    )  # fmt: skip
    if resolved.kind != "rl":
        name = source.file.name
        pairs = resolved.kind == "dpo"
        entry = source.info or (entry_of(resolved.config.loss == "kto", name) if pairs else sft_format.info(name))
        return msgspec.structs.replace(place, dataset=source.name, entry=entry)
    home = run.folder.absolute()
    with _errors_in(missing):
        inputs.validation(resolved, request.workspace)
    return msgspec.structs.replace(
        place,
        data=home / "data" / TRAIN,
        validation=home / "data" / VALIDATION if resolved.config.validation else None,
        protocol=home / FILE_NAME,
        reward=home / sources.REWARD,
        sources={name: sources.settings_of(home, name) for name in speakers(resolved.config)},
    )


def _checked(
    request: TrainRequest, resolved: Resolved, base: Base, source: RowsFile, places: tuple[Path, Run],
    python: Path | None, report: Reporter, missing: list[VircError],
) -> Result | None:  # fmt: skip
    """What the run would find in the rows; None if they cannot be checked here.

    Args:
        places: an empty folder, and the run that it stands for.
        python: interpreter of the engine's environment; None: it is not made, and this process' interpreter checks.
        missing: gets what the engine's interpreter lacks for the tools.
    """
    needed = ("tokenizers", "pyarrow") if resolved.kind == "rl" else ("tokenizers",)
    checking_python = python or (Path(sys.executable) if all(map(find_spec, needed)) else None)
    if checking_python is None or not is_file(source.file) or not is_file(base.folder / "tokenizer.json"):
        return None
    partial, run = places
    to_check = prepare.rows_request(request, resolved, base, source, (partial / "data", run.folder / "data"))
    to_check = msgspec.structs.replace(to_check, is_trial=True)
    environment = prepare.environment_of(resolved)
    if python:
        with _errors_in(missing):
            tool_packages.check_tool_packages(to_check, resolved.name, environment, python)
    # The engine's interpreter finds systems of an editable install in the copy alone, which a run would use too.
    recipes = environments.recipes_in(environment) if python else _PACKAGE
    result = prepare.counted(to_check, checking_python, recipes, report)
    prepared = prepare.PreparedRun(
        resolved=resolved, base=base, result=result, environment=environment, python=checking_python,
        request=request, sources=(to_check.source.file,),
    )  # fmt: skip
    prepare.check_rows(prepared, report)
    return result


def _report_columns(resolved: Resolved, source: RowsFile, report: Reporter) -> None:
    with suppress(VircError):  # the check of all rows reports it
        for lacks, hint in missing_columns(rewards.of(resolved.config.reward, resolved.system.file.parent), source):
            report.warn(lacks, hint)


def _read_all(source: RowsFile, resolved: Resolved, report: Reporter, missing: list[VircError]) -> None:
    """Check rows without their lengths, if the base or the tokenizer's package is not here; DataError as of the run."""
    check = partial(
        check_without_images, holds=source.holds, protocol=chat_protocol.of_system(resolved.system).protocol
    )
    try:
        found = survey(source.rows(), check, lambda number: report.progress(f"row {number} read"))
    except SetupError as error:  # such as parquet without pyarrow
        missing.append(error)
        return
    check_found(source, found)
    report.note(f"{counted(found.rows, 'row')} can be read; lengths and images are checked once nothing is missing")


def _read_files(
    request: TrainRequest, resolved: Resolved, place: Place, base: Base, result: Result | None, partial: Path
) -> dict[str, str]:
    """Path in the run -> text of each file that the run's processes would read, written to `partial` first."""
    home, config, system_folder = place.output.parent, resolved.config, resolved.system.file.parent
    names = (*resolved.system.offered, *rl_setup.tools_of(resolved, request.tools))
    if result:
        prepare.write_read(Run(home), partial, resolved, base, result)
    elif resolved.kind == "rl":
        loaded = tools.load(names, system_folder)
        user_code.copy(user_code.own_files(config.reward, system_folder, loaded), partial / user_code.CODE)
        settings = Settings(
            reward=config.reward, folder=str(place.media), rollout=config.rollout, base=str(place.base),
            max_pixels=config.max_pixels, kept=str(home / user_code.JUDGED),
        )  # fmt: skip
        rl_setup.write_sources(speakers(config), partial, home, settings)
    else:
        user_code.copy(user_code.own_tools(system_folder, tools.load(names, system_folder)), partial / user_code.CODE)
    files = (each for each in sorted(partial.rglob("*")) if each.is_file() and partial / "data" not in each.parents)
    return {str(home / each.relative_to(partial)): _text(each) for each in files}


def _text(file: Path) -> str:
    size = file.stat().st_size
    return file.read_text("utf-8", "replace") if size < _MAX_SHOWN else f"({sized(size)})"


def _base(request: TrainRequest, resolved: Resolved, missing: list[VircError]) -> Base:
    try:
        return inputs.base(resolved, request.workspace)
    except VircError as error:
        missing.append(error)
        name = resolved.config.base or f"RUN-OF-{resolved.config.after}"
        return Base(name=name, folder=request.workspace / MODELS / Path(name).name, model_type="qwen2_vl", root=name)


def _source(request: TrainRequest, resolved: Resolved, missing: list[VircError]) -> RowsFile:
    try:
        return inputs.rows(resolved, request.workspace)
    except VircError as error:
        named = Path(resolved.config.data_name())
        suffix = named.suffix or {"rl": ".parquet", "dpo": ".jsonl"}.get(resolved.kind, ".json")
        file = request.workspace / DATA / named.parent / f"{named.name.removesuffix(named.suffix)}{suffix}"
        if is_file(file) or expanded(named).exists():  # it is here, and cannot be trained on
            raise
        missing.append(error)
        return RowsFile(file, "pairs" if resolved.kind == "dpo" else resolved.kind, named.name)
