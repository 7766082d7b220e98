"""Rows solved by a pipeline, several at a time; a role that goes away is waited for."""

import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from virc.core.errors import DataError, NetworkError
from virc.core.limits.image_memory import Terms
from virc.core.result_log import Claims
from virc.core.seeds import derived
from virc.core.timeouts import Deadline, Stop
from virc.reasoning.opening.pictures import opened_all
from virc.solving.batch import Outage, RowDone, SolveRows, through
from virc.solving.image_source import files_of, looked_at, losses
from virc.solving.rows import ProblemRow, file_name
from virc_extras.pipelines.roles import OpenRole
from virc_extras.pipelines.solve import PipelineSetup, Task, solve_problem


def rows_solver(
    setup: PipelineSetup,
    roles: Mapping[str, OpenRole],
    base: Path,
    traces: Path | None,
    workers: int,
    note: Callable[[str], None],
) -> SolveRows:
    opened = [role.opened for role in roles.values()]
    outage = Outage(lambda: all(each.answers() for each in opened if each.answers), note)

    def work(row: ProblemRow) -> RowDone:
        began, solving = time.monotonic(), setup.setup.config
        deadline = Deadline(solving.timeout)
        try:
            files = files_of(row.pictures, setup.setup.offline, deadline, base, row.trusted)
        except (DataError, NetworkError) as error:  # not the fault of a role, but that of a picture in the row
            raise DataError(error.args[0], error.unspelled_hint) from error
        trace = traces / file_name(str(row.id)) if traces else None
        with opened_all(files, Terms(seconds=deadline.left()), whole=True) as pictures:
            seen = [looked_at(*each) for each in zip(files, row.pictures, pictures, strict=True)]
            problem = Task(row.question, pictures, derived(solving.seed, row.id), trace)
            fields, untraced = solve_problem(setup, roles, problem, deadline)
        fields |= {"pictures": seen, "warnings": losses(seen, row.pictures)}
        return RowDone(row, fields | {"seconds": round(time.monotonic() - began, 3)}, None, untraced)

    def solve(rows: Iterable[ProblemRow], claims: Claims, on_row: Callable[[RowDone], None], stop: Stop | None) -> None:
        through(rows, claims, work, on_row, workers, outage, stop)

    return solve
