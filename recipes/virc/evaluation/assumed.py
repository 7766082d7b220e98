"""What was assumed of a model's system, because it was not published."""

from contextlib import suppress
from pathlib import Path

from virc.core.errors import ConfigError
from virc.models import registry as models
from virc.models.registry import Weights
from virc.runs.run import Run
from virc.solving.solver import SolverSetup
from virc.systems import registry as systems
from virc.systems.registry import System


def assumed_of(model: str, workspace: Path, system: str | None) -> tuple[str, str] | None:
    found, _, _ = origin(model, workspace, system)
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


def origin(name: str, workspace: Path, asked: str | None) -> tuple[System | None, str | None, Run | None]:
    """The system of a model, its name there (None: a custom model), and the run that it came of."""
    found: Weights | None = None
    with suppress(ConfigError):  # it was asked on an endpoint
        found = models.find(name, workspace, asked)
    system, model = (found.system, found.model) if found else models.asked_as(*models.known(name, asked), asked)
    run = models.run_of(found.adapter or found.folder) if found else None
    short = next((each for each, known in system.models.items() if known is model), None) if system else None
    return system, None if run else short, run
