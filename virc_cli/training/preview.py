"""`virc train --dry-run`: everything an engine would get, on stdout; nothing is started, made or written.

What is missing on this machine (environment, weights, rows) is said, and stands in the plan where it would lie.
"""

from pathlib import Path
from typing import Any

import msgspec

from virc_cli import output, plans
from virc_cli.training import begin, job
from virc_cli.training.begin import Wanted
from virc_recipes import environments, runs, sft, shape, stages, training
from virc_recipes.data.layouts import Source
from virc_recipes.data.layouts import sft as sft_layout
from virc_recipes.errors import SetupError, VircError
from virc_recipes.estimate import Estimate, estimate
from virc_recipes.place import Place
from virc_recipes.plan import Plan
from virc_recipes.runs import Run
from virc_recipes.slurm import Site
from virc_recipes.stages import Resolved
from virc_recipes.training import Base

SCHEMA = "virc.train.plan/1"


def print_plan(wanted: Wanted, site: Site | None, as_json: bool) -> None:
    """Print the plan of a stage's first attempt.

    Args:
        site: of the cluster, if it is to be a job there.

    Raises:
        UsageError, ConfigError: the settings are wrong.
    """
    resolved = begin.settings(wanted)
    missing: list[VircError] = []
    base = _base(resolved, missing)
    place = _place(wanted, resolved, base, missing)
    engine = stages.engine(resolved.kind)
    plan: Plan = engine.plan(resolved.config, place, resolved.published, resolved.origins)
    if site:
        run = Run(place.files.parents[1])
        plan = job.preview(plan, run, msgspec.to_builtins(resolved.config), site)
    needed = _needed(resolved, base)
    if as_json:
        output.emit(_as_json(plan, needed, missing))
        return
    plans.show(plan)
    _print_needs(needed, resolved)
    for error in missing:
        output.warn(error.message, error.hint)


def _place(wanted: Wanted, resolved: Resolved, base: Base, missing: list[VircError]) -> Place:
    environment = begin.environment_of(resolved)
    python = environments.interpreter(environment)
    if python is None:
        missing.append(_not_made(environment.name))
    source = _source(resolved, missing)
    run = runs.new(Path.cwd(), wanted.name, resolved.name)
    return Place(
        base=base.folder,
        model_type=base.model_type,
        adapter=base.adapter,
        data=source.file.absolute(),
        dataset=source.name,
        entry=source.info or sft_layout.info(source.file.name),
        media=source.media.absolute(),
        output=run.checkpoints.absolute(),
        files=run.attempt(1).absolute(),
        python=python or environment.python,
        recipes=environments.recipes_place(environment),
    )


def _not_made(name: str) -> VircError:
    return SetupError(f"the environment {name} has not been made", "virc train makes it first")


def _base(resolved: Resolved, missing: list[VircError]) -> Base:
    try:
        return training.base(resolved, Path.cwd())
    except VircError as error:
        missing.append(error)
        name = resolved.config.base or f"RUN-OF-{resolved.config.after}"
        return Base(
            name=name, folder=Path.cwd() / "models" / Path(name).name, model_type="qwen2_vl", root=name
        )


def _source(resolved: Resolved, missing: list[VircError]) -> Source:
    try:
        return training.rows(resolved, Path.cwd())
    except VircError as error:
        missing.append(error)
        named = Path(sft.data_name(resolved.config))
        return Source(Path.cwd() / training.DATA / named.parent / f"{named.name}.json", "sft", named.name)


def _needed(resolved: Resolved, base: Base) -> Estimate | None:
    """Counted for rows as long as the cutoff: the rows themselves are looked at when a run begins."""
    known = (
        shape.of_folder(base.folder) if base.folder.is_dir() else shape.published(stages.root_of(resolved))
    )
    return estimate(resolved.config, known, resolved.config.cutoff) if known else None


def _print_needs(needed: Estimate | None, resolved: Resolved) -> None:
    output.line(f"\n# what it needs for a row of {resolved.config.cutoff} tokens (about; --probe measures)")
    if needed is None:
        output.line("not known: the sizes of the base are not here")
        return
    output.line(f"{needed.device_gib:8.3g} GiB  a device")
    for term in needed.terms:
        output.line(f"{term.gib:8.3g} GiB    {term.name}: {term.formula}")
    output.line(f"{needed.host_gib:8.3g} GiB  main memory of a machine")
    for term in needed.disk or ():
        output.line(f"{term.gib:8.3g} GiB  disk, {term.name}: {term.formula}")


def _as_json(plan: Plan, needed: Estimate | None, missing: list[VircError]) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        **plans.fields(plan),
        "changes": [msgspec.to_builtins(change) for change in plan.changes],
        "estimate": None if needed is None else msgspec.to_builtins(needed),
        "missing": [output.error_fields(error) for error in missing],
        "error": None,
    }
