"""Our figures compared with published ones, and which settings differ."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from virc.core.errors import ConfigError
from virc.evaluation.summary import ModelSummary, Reported
from virc.models import registry as models
from virc.models.registry import Weights
from virc.runs import run as runs
from virc.runs.run import Run
from virc.solving.solver import SolverSetup
from virc.systems import registry as systems
from virc.systems.registry import Figures, System


class Published(msgspec.Struct, frozen=True):
    """What the file of a model's system reports; `short` is the model's name there, None for a custom model."""

    reported: Figures
    system: str
    short: str | None
    run: Run | None


def published_for(model: str, workspace: Path, system: str | None) -> Published:
    """The published figures of a model's system; a ConfigError if there are none, or the system is not known."""
    found, short, run = _origin(model, workspace, system)
    if found is None:
        raise ConfigError(f"which system {model} belongs to is not known", "--system SYSTEM")
    if found.reported is None:
        raise ConfigError(
            f"no published figures stand in the file of {found.name}",
            "`reported:` in a YAML of your own has them: --system FILE",
        )
    return Published(found.reported, found.name, short, run)


def assumed_of(model: str, workspace: Path, system: str | None) -> tuple[str, str] | None:
    found, _, _ = _origin(model, workspace, system)
    return _assumed(f"{model} is of {found.name}, which", found) if found else None


def assumed_of_solver(solver: SolverSetup) -> tuple[str, str] | None:
    found = systems.discover().get(solver.name)
    return _assumed(solver.name, found) if found and found.pipeline == str(solver.file) else None


def _assumed(subject: str, system: System) -> tuple[str, str] | None:
    if not system.assumed:
        return None
    keys = ", ".join(each.of for each in system.assumed)
    sentence = f"{subject} is reconstructed; assumed, not published: {keys}"
    return sentence, f"virc systems show {system.name} lists them"


def compared(model: ModelSummary, benchmark: str, published: Published) -> Iterator[Reported]:
    reported, short, run = published.reported, published.short, published.run
    differs = {key: pair for key, pair in _settings(model, reported.settings, run) if pair[0] != pair[1]}
    # a custom model is compared with all figures of the source, a published one with its own
    names = [name for name in reported.figures if short not in reported.figures or name == short]
    found = {name: reported.figures[name].get(benchmark) for name in names} or {short or published.system: None}
    for name, percent in found.items():
        theirs = None if percent is None else percent / 100
        yield Reported(model.name, name, reported.source, theirs, model.score, differs)


def _origin(name: str, workspace: Path, asked: str | None) -> tuple[System | None, str | None, Run | None]:
    found: Weights | None = None
    with suppress(ConfigError):  # it was asked on an endpoint
        found = models.find(name, workspace, asked)
    system, model = (found.system, found.model) if found else models.known(name, asked)
    run = models.run_of(found.adapter or found.folder) if found else None
    short = next((each for each, known in system.models.items() if known is model), None) if system else None
    return system, None if run else short, run


def _settings(model: ModelSummary, theirs: Mapping[str, Any], run: Run | None) -> Iterator[tuple[str, tuple[Any, Any]]]:
    for key, value in theirs.items():
        yield key, (value, model.settings.get(key))
    if run:
        info = runs.info(run)
        yield "trained with", ("as published", ", ".join(info.overlays) or f"{info.base}, {info.rows} rows")
