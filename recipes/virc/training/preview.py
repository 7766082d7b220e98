"""What a stage's first attempt would be: its plan and what it needs; nothing is started, made or written.

What is missing on this machine (environment, weights, rows) is listed, and named in the plan where it would be.
"""

from pathlib import Path

import msgspec

from virc.cluster import jobs
from virc.cluster.jobs import Target
from virc.core.errors import SetupError, VircError
from virc.core.events import Reporter
from virc.core.files import DATA, MODELS, is_file
from virc.core.plan import Plan
from virc.data.formats import sft as sft_format
from virc.data.formats.registry import Source
from virc.engines import registry as engines
from virc.envs import environment as environments
from virc.envs import hardware
from virc.envs.hardware import Machine
from virc.envs.pins import pinned
from virc.models import sizes
from virc.reasoning.protocol import FILE_NAME
from virc.rewards import kept, sources
from virc.rewards.sources import speakers
from virc.rewards.verl import Settings
from virc.runs import run as runs
from virc.runs.run import Run
from virc.stages import resolve as stages
from virc.stages.context import Place
from virc.stages.resolve import Resolved
from virc.training import inputs, prepare, rl_setup
from virc.training.estimate.fits import ESTIMATORS
from virc.training.estimate.sft import Estimate
from virc.training.inputs import Base
from virc.training.preflight.rl import TRAIN, VALIDATION
from virc.training.request import TrainRequest


class Preview(msgspec.Struct, frozen=True):
    """A stage's first attempt.

    Args:
        needed: for rows as long as they may be; None: the sizes of the base are not known.
        here: this machine; None: a cluster runs it.
        missing: what is not on this machine yet.
    """

    resolved: Resolved
    plan: Plan
    needed: Estimate | None
    here: Machine | None
    missing: list[VircError]


def preview(request: TrainRequest, resolved: Resolved, target: Target | None) -> Preview:
    """Plan a stage's first attempt.

    Args:
        target: the cluster to run on; None: this machine.

    Raises:
        UsageError, ConfigError: a tool is not given as +NAME or missing, or the settings are wrong.
    """
    missing: list[VircError] = []
    rl_setup.tools_of(resolved, request.tools)  # refused as the run would be
    base = _base(request, resolved, missing)
    python = environments.interpreter(environment := prepare.environment_of(resolved))
    if python is None:
        unmade = f"the environment {environment.name} has not been made"
        missing.append(SetupError(unmade, "virc train makes it first"))
    source = _source(request, resolved, missing)
    place = _place(request, resolved, base, source, python or environment.python, missing)
    engine = engines.of_kind(resolved.kind).plan
    plan: Plan = engine.plan(resolved.config, place, resolved.published, resolved.origins)
    plan = msgspec.structs.replace(plan, files={**plan.files, **_files_of_sources(resolved, place)})
    if target:
        plan = jobs.preview(plan, Run(place.files.parents[1]), resolved, place, pinned(environment), target)
    if resolved.kind == "rl":
        there = source if is_file(source.file) else None
        try:
            rl_setup.check_judge(resolved, there, here=False, report=Reporter())
        except VircError as error:
            missing.append(error)
    here = None if target else hardware.find(request.workspace)
    return Preview(resolved, plan, _needed(resolved, base), here, missing)


def _place(
    request: TrainRequest, resolved: Resolved, base: Base, source: Source, python: Path, missing: list[VircError]
) -> Place:
    run = runs.new(request.workspace, request.name, resolved.name)
    place = Place(
        base=base.folder,
        model_type=base.model_type,
        adapter=base.adapter,
        data=source.file.absolute(),
        media=source.media.absolute(),
        output=run.checkpoints.absolute(),
        files=run.attempt(1).absolute(),
        python=python,
        recipes=environments.recipes_place(prepare.environment_of(resolved)),
    )
    if resolved.kind != "rl":
        entry = source.info or sft_format.info(source.file.name)
        return msgspec.structs.replace(place, dataset=source.name, entry=entry)
    home = run.folder.absolute()
    try:
        inputs.validation(resolved, request.workspace)
    except VircError as error:
        missing.append(error)
    return msgspec.structs.replace(
        place,
        data=home / "data" / TRAIN,
        validation=home / "data" / VALIDATION if resolved.config.validation else None,
        protocol=home / FILE_NAME,
        reward=home / inputs.REWARD,
        sources={name: sources.settings_of(home, name) for name in speakers(resolved.config)},
    )


def _files_of_sources(resolved: Resolved, place: Place) -> dict[str, str]:
    """The chat protocol and the settings of the reward of each further system that rows may be of."""
    if not place.sources:
        return {}
    home = place.output.parent
    own = Settings(
        reward=resolved.config.reward,
        folder=str(place.media),
        rollout=resolved.config.rollout,
        base=str(place.base),
        max_pixels=resolved.config.max_pixels,
        kept=str(home / kept.JUDGED),
    )
    files: dict[str, str] = {}
    for name, speaker in speakers(resolved.config).items():
        settings = rl_setup.source_settings(home, name, speaker, own)
        for file, content in (
            (sources.chat_protocol_of(home, name), speaker.protocol), (place.sources[name], settings),
        ):  # fmt: skip
            files[str(file)] = msgspec.json.format(msgspec.json.encode(content)).decode() + "\n"
    return files


def _base(request: TrainRequest, resolved: Resolved, missing: list[VircError]) -> Base:
    try:
        return inputs.base(resolved, request.workspace)
    except VircError as error:
        missing.append(error)
        name = resolved.config.base or f"RUN-OF-{resolved.config.after}"
        return Base(name=name, folder=request.workspace / MODELS / Path(name).name, model_type="qwen2_vl", root=name)


def _source(request: TrainRequest, resolved: Resolved, missing: list[VircError]) -> Source:
    try:
        return inputs.rows(resolved, request.workspace)
    except VircError as error:
        missing.append(error)
        named = Path(resolved.config.data_name())
        suffix = named.suffix or (".parquet" if resolved.kind == "rl" else ".json")
        file = request.workspace / DATA / named.parent / f"{named.name.removesuffix(named.suffix)}{suffix}"
        return Source(file, resolved.kind, named.name)


def _needed(resolved: Resolved, base: Base) -> Estimate | None:
    """Estimated for rows as long as they may be: the rows themselves are checked when a run begins."""
    known = (
        sizes.of_folder(base.folder)
        if is_file(base.folder / "config.json")  # a download that was broken off has none
        else sizes.published(stages.root_of(resolved))
    )
    config = resolved.config
    return ESTIMATORS[resolved.kind](config, known, config.longest) if known else None
