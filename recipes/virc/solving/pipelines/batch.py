"""The rows of a file by a pipeline, several at a time; a role that goes away is waited for."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from virc.core.errors import DataError, NetworkError
from virc.core.events import Reporter
from virc.core.result_log import Claims
from virc.core.seeds import derived
from virc.core.timeouts import Deadline
from virc.reasoning.images import OpenedImage
from virc.solving.api import check_files, open_rows, write_answers
from virc.solving.batch import RowDone, through
from virc.solving.image_source import open_source
from virc.solving.one import OnEvent, TextDelta
from virc.solving.pipelines.roles import OpenRole, close, open_roles
from virc.solving.pipelines.solve import PipelineSetup, Problem, facts, solve_problem
from virc.solving.retry import Outage
from virc.solving.rows import Row, file_name, read_rows
from virc.solving.setup import OnFacts


class _Rows(msgspec.Struct, frozen=True):
    """How rows are solved; `base` is the folder that their image paths start from."""

    setup: PipelineSetup
    roles: Mapping[str, OpenRole]
    base: Path

    @property
    def at_once(self) -> int:
        """Rows in work at a time, as many as suit every model."""
        return min(role.opened.at_once for role in self.roles.values())


def solve_file(
    setup: PipelineSetup,
    source: str,
    to: str | None,
    at_once: int | None,
    blank: Mapping[str, object],
    report: Reporter,
    *,
    on_line: Callable[[str], None],
    on_facts: OnFacts = lambda _: None,
) -> None:
    """Solve every row of a file by a pipeline; arguments and errors as of `virc.solving.api.solve_file`."""
    check_files(source, to)
    file, base = open_rows(source)
    with file as lines:
        on_facts(facts(setup))
        roles = open_roles(setup.pipeline, setup.chosen, report)
        rows = _Rows(setup, roles, base)

        def solve_rows(claims: Claims, on_row: Callable[[RowDone], None]) -> None:
            def work(row: Row, on_event: OnEvent) -> RowDone:
                return _solved(rows, row, on_event)

            through(read_rows(lines), claims, work, on_row, at_once or rows.at_once, _outage(roles, report))

        try:
            write_answers(solve_rows, source, to, facts(setup, roles), blank, report, on_line)
        finally:
            close(roles)


def _outage(roles: Mapping[str, OpenRole], report: Reporter) -> Outage:
    """What waits until every endpoint answers."""
    return Outage(lambda: all(role.opened.answers() for role in roles.values() if role.opened.answers), report.note)


def _solved(rows: _Rows, row: Row, on_event: OnEvent) -> RowDone:
    began, setup = time.monotonic(), rows.setup.setup
    deadline = Deadline(setup.config.timeout)
    pictures = [_opened(rows, source, deadline) for source in row.images]
    trace = setup.trace / file_name(str(row.id)) if setup.trace else None
    problem = Problem(row.question, pictures, derived(setup.config.seed, row.id), trace)

    def check() -> None:
        on_event(TextDelta(""))  # raises when the batch has ended

    fields, untraced = solve_problem(rows.setup, rows.roles, problem, deadline, check=check)
    return RowDone(row, fields | {"seconds": round(time.monotonic() - began, 3)}, None, untraced)


def _opened(rows: _Rows, source: str, deadline: Deadline) -> OpenedImage:
    try:
        return open_source(source, rows.base, rows.setup.setup.offline, deadline.left())
    except NetworkError as error:  # not the fault of a role, but that of the address in the row
        raise DataError(error.message, error.hint) from error
