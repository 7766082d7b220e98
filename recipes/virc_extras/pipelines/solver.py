"""Pipelines as a kind of solver of the core: the module of the entry point `pipeline` (`SolverKind`)."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from virc.core.errors import UsageError
from virc.core.events import Reporter
from virc.core.options import marked
from virc.solving.batch import SolveRows
from virc.solving.image_source import Picture
from virc.solving.outcome import Fields
from virc.solving.setup import OnFacts, Setup
from virc.solving.solution import Solution
from virc.solving.solver import OnStep
from virc_extras.pipelines import files, solve
from virc_extras.pipelines.agent import AgentPipeline
from virc_extras.pipelines.batch import rows_solver
from virc_extras.pipelines.files import refuse
from virc_extras.pipelines.roles import OpenRole
from virc_extras.pipelines.solve import PipelineSetup
from virc_extras.pipelines.steps import Made, Ran

__all__ = ["check", "refuse", "set_up"]


def check(name: str) -> None:
    files.load(name)


def set_up(name: str, roles: Mapping[str, str], setup: Setup, default: Mapping[str, object] = {}) -> "PipelineSolver":
    chosen = solve.set_up(name, roles, setup)
    named = next((marked(name) for name, value in default.items() if value not in (None, "none")), None)
    if named and setup.choice not in chosen.chosen.values():
        hint = f"leave {named} out; a model alone is compared by virc eval without «--pipeline», «--to» the same folder"
        raise UsageError(f"{named} is the model of roles that have none, and each role has one", hint)
    return PipelineSolver(chosen)


class OpenPipeline(NamedTuple):
    setup: PipelineSetup
    roles: Mapping[str, OpenRole]

    @property
    def known(self) -> Fields:
        return solve.facts(self.setup, self.roles)

    @property
    def at_once(self) -> int:
        return min(role.opened.at_once for role in self.roles.values())

    def rows_solver(self, base: Path, traces: Path | None, workers: int, note: Callable[[str], None]) -> SolveRows:
        return rows_solver(self.setup, self.roles, base, traces, workers, note)


class PipelineSolver:
    def __init__(self, setup: PipelineSetup) -> None:
        self._setup = setup
        self.name, self.file, self.models = setup.name, setup.pipeline.file, setup.models
        self.trace, self.known = setup.setup.trace, solve.facts(setup)

    @contextmanager
    def opened(self, report: Reporter) -> Iterator[OpenPipeline]:
        with solve.ready(self._setup, report) as roles:
            yield OpenPipeline(self._setup, roles)

    @contextmanager
    def of_agent(self, report: Reporter) -> Iterator[AgentPipeline]:
        with solve.ready(self._setup, report) as roles:
            yield AgentPipeline(self._setup, roles)

    def solve_images(
        self, sources: Sequence[Picture], question: str, report: Reporter, *, on_facts: OnFacts = lambda _: None,
        on_step: OnStep = lambda *_: None,
    ) -> Solution:  # fmt: skip
        def on_ran(ran: Ran, _: Made) -> None:
            on_step(f"{ran.name}{f', by {ran.role}' if ran.role else ''}", ran.texts)

        return solve.solve_images(self._setup, sources, question, report, on_facts=on_facts, on_step=on_ran)

    def planned(self, question: str, images: int) -> Iterator[str]:
        return solve.planned(self._setup, question, images)
