"""What solves rows, by a model or by another solver: opened once for a file, or for a generator of solutions."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from virc.core.events import Reporter
from virc.core.result_log import Claims
from virc.core.timeouts import Stop
from virc.solving.batch import BatchConfig, RowDone, SolveRows, solve_batch, workers_for
from virc.solving.other_solvers import SolverSetup
from virc.solving.outcome import Fields
from virc.solving.rows import Row
from virc.solving.setup import OnFacts, Setup, open_setup
from virc.solving.strategies import registry as strategies
from virc.solving.traces.files import check_writable


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
        config = BatchConfig(setup.config, base, setup.trace, setup.offline, workers, grader=grader, views=views)

        def solve(rows: Iterable[Row], claims: Claims, on_row: Callable[[RowDone], None], stop: Stop | None) -> None:
            solve_batch(config, opened, rows, claims, on_row, report.note, stop)

        yield Solver(workers, known, solve)
