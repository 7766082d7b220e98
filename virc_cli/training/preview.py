"""`virc train --dry-run`: everything an engine would get, on stdout; nothing is started, made or written.

What is missing on this machine (environment, weights, rows) is said, and stands in the plan where it would lie.
"""

from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from virc.core.errors import SetupError, VircError
from virc.core.files import DATA, MODELS, is_file
from virc.core.plan import Plan
from virc.data.formats import sft as sft_format
from virc.data.formats.registry import Source
from virc.engines import registry as engines
from virc.envs import environment as environments
from virc.envs.hardware import Machine
from virc.envs.hardware import find as this_machine
from virc.envs.pins import pinned
from virc.models import sizes as shape
from virc.reasoning.protocol import FILE_NAME
from virc.rewards import kept
from virc.rewards import sources as rl_sources
from virc.rewards.sources import speakers
from virc.rewards.verl import Settings
from virc.runs import run as runs
from virc.runs.run import Run
from virc.stages import resolve as stages
from virc.stages.context import Place
from virc.stages.resolve import Resolved
from virc.training import inputs as training
from virc.training.estimate import fits
from virc.training.estimate.registry import ESTIMATORS
from virc.training.estimate.sft import Estimate
from virc.training.inputs import Base
from virc.training.preflight.rl import TRAIN, VALIDATION
from virc_cli.console import output, plans
from virc_cli.training import begin, job, rewarding
from virc_cli.training.begin import Wanted
from virc_cli.training.job import Where

SCHEMA = "virc.train.plan/1"


def print_plan(wanted: Wanted, resolved: Resolved, there: Where | None, as_json: bool) -> None:
    """Print the plan of a stage's first attempt.

    Args:
        there: the cluster it is to run on; None: this machine.

    Raises:
        UsageError: a tool is not asked for as +NAME.
        ConfigError: the settings are wrong, or a tool is not there.
    """
    missing: list[VircError] = []
    rewarding.tools_of(resolved, wanted.tools)  # refused as the run would be
    base = _base(resolved, missing)
    place = _place(wanted, resolved, base, missing)
    engine = engines.of_kind(resolved.kind).plan
    plan: Plan = engine.plan(resolved.config, place, resolved.published, resolved.origins)
    plan = msgspec.structs.replace(plan, files={**plan.files, **_of_sources(resolved, place)})
    if there:
        versions = pinned(begin.environment_of(resolved))
        plan = job.preview(plan, Run(place.files.parents[1]), resolved, place, versions, there)
    needed = _needed(resolved, base)
    here = None if there else this_machine(Path.cwd())
    if resolved.kind == "rl":
        _check_judge(resolved, missing)
    if as_json:
        output.emit(_as_json(plan, needed, resolved, here, missing))
        return
    plans.show(plan)
    _print_needs(needed, resolved, here)
    for error in missing:
        output.warn(error.message, error.hint)


def _check_judge(resolved: Resolved, missing: list[VircError]) -> None:
    source = None
    with suppress(VircError):  # it has been said that there are no rows
        source = training.rows(resolved, Path.cwd())
    try:
        rewarding.check_judge(resolved, source, here=False)
    except VircError as error:
        missing.append(error)


def _place(wanted: Wanted, resolved: Resolved, base: Base, missing: list[VircError]) -> Place:
    environment = begin.environment_of(resolved)
    python = environments.interpreter(environment)
    if python is None:
        missing.append(_not_made(environment.name))
    source = _source(resolved, missing)
    run = runs.new(Path.cwd(), wanted.name, resolved.name)
    place = Place(
        base=base.folder,
        model_type=base.model_type,
        adapter=base.adapter,
        data=source.file.absolute(),
        media=source.media.absolute(),
        output=run.checkpoints.absolute(),
        files=run.attempt(1).absolute(),
        python=python or environment.python,
        recipes=environments.recipes_place(environment),
    )
    if resolved.kind == "rl":
        return _of_rl(place, resolved, run, missing)
    entry = source.info or sft_format.info(source.file.name)
    return msgspec.structs.replace(place, dataset=source.name, entry=entry)


def _of_rl(place: Place, resolved: Resolved, run: Run, missing: list[VircError]) -> Place:
    """The rows as a run lays them down for verl, and the files that it writes beside them."""
    home = run.folder.absolute()
    try:
        training.validation(resolved, Path.cwd())
    except VircError as error:
        missing.append(error)
    return msgspec.structs.replace(
        place,
        data=home / "data" / TRAIN,
        validation=home / "data" / VALIDATION if resolved.config.validation else None,
        protocol=home / FILE_NAME,
        reward=home / training.REWARD,
        sources={name: rl_sources.settings_of(home, name) for name in speakers(resolved.config)},
    )


def _of_sources(resolved: Resolved, place: Place) -> dict[str, str]:
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
        told = rewarding.source_settings(home, name, speaker, own)
        files[str(rl_sources.chat_protocol_of(home, name))] = _json(speaker.protocol)
        files[str(place.sources[name])] = _json(told)
    return files


def _json(content: object) -> str:
    return msgspec.json.format(msgspec.json.encode(content)).decode() + "\n"


def _not_made(name: str) -> VircError:
    return SetupError(f"the environment {name} has not been made", "virc train makes it first")


def _base(resolved: Resolved, missing: list[VircError]) -> Base:
    try:
        return training.base(resolved, Path.cwd())
    except VircError as error:
        missing.append(error)
        name = resolved.config.base or f"RUN-OF-{resolved.config.after}"
        return Base(name=name, folder=Path.cwd() / MODELS / Path(name).name, model_type="qwen2_vl", root=name)


def _source(resolved: Resolved, missing: list[VircError]) -> Source:
    try:
        return training.rows(resolved, Path.cwd())
    except VircError as error:
        missing.append(error)
        named = Path(resolved.config.data_name())
        suffix = named.suffix or (".parquet" if resolved.kind == "rl" else ".json")
        file = Path.cwd() / DATA / named.parent / f"{named.name.removesuffix(named.suffix)}{suffix}"
        return Source(file, resolved.kind, named.name)


def _needed(resolved: Resolved, base: Base) -> Estimate | None:
    """Counted for rows as long as they may be: the rows themselves are looked at when a run begins."""
    known = (
        shape.of_folder(base.folder)
        if is_file(base.folder / "config.json")  # a download that was broken off has none
        else shape.published(stages.root_of(resolved))
    )
    estimates = ESTIMATORS[resolved.kind]
    return estimates.estimate(resolved.config, known, estimates.longest(resolved.config)) if known else None


def _print_needs(needed: Estimate | None, resolved: Resolved, here: Machine | None) -> None:
    longest = ESTIMATORS[resolved.kind].longest(resolved.config)
    output.line(f"\n# what it needs for a row of {longest} tokens (about; --probe measures)")
    if resolved.config.device == "cuda":
        count = f"; here {len(here.gpus)}" if here else ""
        output.line(f"{fits.gpus(resolved.config)}{count}")
    if needed is None:
        output.line("not known: the sizes of the base are not here")
        return
    output.line(f"{needed.device_gib:8.3g} GiB  a device")
    for term in needed.terms:
        output.line(f"{term.gib:8.3g} GiB    {term.name}: {term.formula}")
    output.line(f"{needed.host_gib:8.3g} GiB  main memory of a machine")
    for term in needed.host if resolved.kind == "rl" else ():
        output.line(f"{term.gib:8.3g} GiB    {term.name}: {term.formula}")
    for term in needed.disk or ():
        output.line(f"{term.gib:8.3g} GiB  disk, {term.name}: {term.formula}")
    if needed.judge_calls:
        fewest, most = needed.judge_calls
        output.line(f"{fewest:,} to {most:,} questions to the judge a step")


def _as_json(
    plan: Plan, needed: Estimate | None, resolved: Resolved, here: Machine | None, missing: list[VircError]
) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        **plans.fields(plan),
        "changes": [msgspec.to_builtins(change) for change in plan.changes],
        "estimate": None if needed is None else msgspec.to_builtins(needed),
        "gpus": {
            "policy": resolved.config.devices if resolved.config.device == "cuda" else 0,
            "judge": getattr(resolved.config, "judge_gpus", 0),
            "here": None if here is None else len(here.gpus),
        },
        "missing": [output.error_fields(error) for error in missing],
        "error": None,
    }
