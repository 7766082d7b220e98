"""What solves problems: a model, or another solver, which is more than one model with its tools.

There is one kind of other solvers, pipelines: the module of the hook `solvers.pipeline` is a
`SolverKind`. It sets a pipeline up as a `SolverSetup`; `SolverSetup.opened` opens its models, as an `OpenSolver`.
`open_solver` opens a setup of either, once for a file of rows or a generator of solutions.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol, cast

from virc.config.declared import declared
from virc.config.options import SolveOptions
from virc.core import entry_points
from virc.core.events import Reporter
from virc.core.result_log import Claims
from virc.core.timeouts import Stop
from virc.solving.batch import BatchConfig, RowDone, SolveRows, solve_batch, workers_for
from virc.solving.image_source import Picture
from virc.solving.outcome import Fields
from virc.solving.rows import ProblemRow
from virc.solving.setup import OnFacts, Setup, open_setup
from virc.solving.solution import Solution
from virc.solving.strategies import registry as strategies
from virc.solving.traces.files import check_writable
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
        on_step: OnStep = lambda *_: None,
    ) -> Solution: ...  # fmt: skip

    def planned(self, question: str, images: int) -> Iterator[str]:
        """Lines of a dry run, for which nothing is opened."""


class SolverKind(Protocol):
    """The module of an entry point."""

    def check(self, name: str) -> None:
        """Raise ConfigError if a system or a file is none of this kind, or has a fault."""

    def refuse(self, given: Mapping[str, object]) -> None:
        """Raise UsageError for a setting with a value: each, by its name, means nothing to a pipeline."""

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
    if kind := entry_points.hook("solvers.pipeline"):
        return cast(SolverKind, kind)
    raise entry_points.not_installed("that runs pipelines")


def unread(options: Mapping[str, Any]) -> dict[str, bool]:
    """Whether each option that means nothing to a pipeline has another value than by default."""
    names = ("samples", "strategy", "temperature", "min_p", "max_tokens", "prices")
    return {name: options[name] != declared(SolveOptions)[name][1].default for name in names}


class Solver(NamedTuple):
    workers: int
    known: Fields
    solve: SolveRows


@contextmanager
def open_solver(
    setup: Setup | SolverSetup,
    base: Path,
    at_once: int | None,
    report: Reporter,
    on_facts: OnFacts = lambda _: None,
    views: bool = False,
) -> Iterator[Solver]:
    """Open what solves rows, until the block ends; with `views` a notebook can show the results."""
    with ExitStack() as stack:
        if not isinstance(setup, Setup):
            on_facts(setup.known)
            check_writable(setup.trace)
            solver = stack.enter_context(setup.opened(report))
            workers = at_once or solver.at_once
            yield Solver(workers, solver.known, solver.rows_solver(base, setup.trace, workers, report.note))
            return
        check_writable(setup.trace)
        opened, known = open_setup(setup, report, on_facts)
        if opened is not setup.opened:
            stack.callback(opened.close)
        grader = stack.enter_context(strategies.grader_of(setup.config, setup.graders, opened, report))
        workers = workers_for(at_once, opened, report.note)
        config = BatchConfig(
            setup.config_of(opened.name), base, setup.trace, setup.offline, workers, grader=grader, views=views
        )

        def solve(
            rows: Iterable[ProblemRow], claims: Claims, on_row: Callable[[RowDone], None], stop: Stop | None
        ) -> None:
            solve_batch(config, opened, rows, claims, on_row, report.note, stop)

        yield Solver(workers, known, solve)
