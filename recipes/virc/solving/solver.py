"""What solves rows, by a model or by a pipeline: opened once for a file, a generator of solutions, or an evaluation."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from virc.core.events import Reporter
from virc.core.result_log import Claims
from virc.core.timeouts import Stop
from virc.solving.batch import BatchConfig, RowDone, SolveRows, solve_batch, workers_for
from virc.solving.outcome import Fields
from virc.solving.pipelines import solve as pipelines
from virc.solving.pipelines.batch import rows_solver
from virc.solving.pipelines.solve import PipelineSetup
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
    setup: Setup | PipelineSetup,
    base: Path,
    at_once: int | None,
    report: Reporter,
    on_facts: OnFacts = lambda _: None,
    views: bool = False,
) -> Iterator[Solver]:
    """Open what solves rows, until the block ends; with `views` a notebook can show the results."""
    with ExitStack() as stack:
        if isinstance(setup, PipelineSetup):
            on_facts(pipelines.facts(setup))
            check_writable(setup.setup.trace)
            roles = stack.enter_context(pipelines.ready(setup, report))
            workers = at_once or min(role.opened.at_once for role in roles.values())
            solve_rows = rows_solver(setup, roles, base, setup.setup.trace, workers, report.note)
            yield Solver(workers, pipelines.facts(setup, roles), solve_rows)
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
