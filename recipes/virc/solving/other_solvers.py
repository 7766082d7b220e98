"""Solvers that are more than one model with its tools: what the rooms ask of them, and where they are found.

There is one kind, pipelines: the module of the entry point `pipeline` in the group `virc.solvers` is a `SolverKind`. It
sets a pipeline up as a `SolverSetup`; `SolverSetup.opened` opens the models of that, as an `OpenSolver`.
"""

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol, cast

from virc.core import entry_points
from virc.core.errors import ConfigError
from virc.core.events import Reporter
from virc.solving.batch import SolveRows
from virc.solving.image_source import Picture
from virc.solving.outcome import Fields
from virc.solving.setup import OnFacts, Setup
from virc.solving.solution import Solution
from virc.systems import registry as systems

OnStep = Callable[[str, Sequence[str]], None]
"""Gets a step that ran: what it is called, and the texts that it gave."""


class OpenSolver(Protocol):
    """A solver whose models are open."""

    @property
    def known(self) -> Fields:
        """The fields of records that describe it, with its models as their servers call them."""

    @property
    def at_once(self) -> int:
        """How many rows suit its models at a time."""

    def rows_solver(self, base: Path, traces: Path | None, workers: int, note: Callable[[str], None]) -> SolveRows: ...


class SolverSetup(Protocol):
    """A solver that is chosen and checked, its models not open yet."""

    @property
    def name(self) -> str: ...

    @property
    def file(self) -> Path:
        """That of its code."""

    @property
    def models(self) -> Mapping[str, str]:
        """Each of its models, in words, by its role."""

    @property
    def trace(self) -> Path | None: ...

    @property
    def known(self) -> Fields:
        """The fields of records that describe it, as far as they are known."""

    def opened(self, report: Reporter) -> AbstractContextManager[OpenSolver]: ...

    def of_agent(self, report: Reporter) -> AbstractContextManager[Any]:
        """The same for an agent endpoint: a `virc.serving.agent.other_solver.AgentSolver`."""

    def solve_images(
        self, sources: Sequence[Picture], question: str, report: Reporter, *, on_facts: OnFacts = lambda _: None,
        on_step: OnStep = lambda *_: None, page: int | None = None,
    ) -> Solution: ...  # fmt: skip

    def planned(self, question: str, images: int) -> Iterator[str]:
        """Lines of a dry run, for which nothing is opened."""


class SolverKind(Protocol):
    """The module of an entry point."""

    def check(self, name: str) -> None:
        """Raise ConfigError if a system or a file is none of this kind, or has a fault."""

    def refuse(self, given: Mapping[str, object], option: str) -> None:
        """Raise UsageError for a setting with a value: each means nothing to a solver chosen by this option."""

    def set_up(
        self, name: str, roles: Mapping[str, str], setup: Setup, default: Mapping[str, object] = {}
    ) -> SolverSetup:
        """Set up the solver of a system or a file.

        Args:
            roles: role -> address of its endpoint, or its model.
            setup: the model of other roles, and how a problem is solved.
            default: option -> what it names as that model; refused if each role has a model.
        """


def choose(
    pipeline: str | Path | None, system: str | Path | None, alone: bool = False
) -> tuple[str | None, str | None]:
    """Return the pipeline and the system; a system that is a pipeline becomes the pipeline if none is named."""
    if pipeline is None and system is not None:
        found = systems.get(str(system))
        if found.pipeline and not (alone and found.stages):
            return str(system), None
    return pipeline if pipeline is None else str(pipeline), system if system is None else str(system)


def pipelines() -> SolverKind:
    module = entry_points.own("virc.solvers").get("pipeline")
    if module is None:
        raise ConfigError("the extra that runs pipelines is not installed", "install the whole package virc")
    return cast(SolverKind, importlib.import_module(module))
