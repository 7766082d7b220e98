"""The rows of a file by a pipeline, several at a time; a role that goes away is waited for."""

import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import msgspec

from virc.core.errors import DataError, NetworkError
from virc.core.events import Reporter
from virc.core.result_log import Claims
from virc.core.seeds import derived
from virc.core.timeouts import Deadline
from virc.reasoning.images import OpenedImage
from virc.solving.answer_file import check_files, open_rows, write_answers
from virc.solving.batch import RowDone, through
from virc.solving.image_source import open_source
from virc.solving.one import OnEvent, TextDelta
from virc.solving.pipelines.roles import OpenRole
from virc.solving.pipelines.solve import PipelineSetup, Problem, facts, ready, solve_problem
from virc.solving.retry import Outage
from virc.solving.rows import Row, file_name, read_rows
from virc.solving.setup import OnFacts


class BatchConfig(msgspec.Struct, frozen=True):
    """How rows are solved.

    Args:
        base: folder that image paths of the rows start from.
        traces: folder in which the trace of every row gets one of its own; None keeps none.
        at_once: rows in work at a time; None: as many as suit every model.
    """

    setup: PipelineSetup
    roles: Mapping[str, OpenRole]
    base: Path
    traces: Path | None = None
    at_once: int | None = None


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
    on_facts(facts(setup))
    with file as lines, ready(setup, report) as roles:
        config = BatchConfig(setup, roles, base, setup.setup.trace, at_once)

        def solve_rows(claims: Claims, on_row: Callable[[RowDone], None]) -> None:
            solve_batch(config, read_rows(lines), claims, on_row, report.note)

        write_answers(solve_rows, source, to, facts(setup, roles), blank, report, on_line)


def solve_batch(
    config: BatchConfig,
    rows: Iterable[Row],
    claims: Claims,
    on_row: Callable[[RowDone], None],
    note: Callable[[str], None] = lambda _: None,
) -> None:
    """Solve every row that is not among `claims`; `on_row`, `note` and errors as in `virc.solving.batch`."""
    opened = [role.opened for role in config.roles.values()]
    workers = config.at_once or min(each.at_once for each in opened)
    outage = Outage(lambda: all(each.answers() for each in opened if each.answers), note)

    def work(row: Row, on_event: OnEvent) -> RowDone:
        return _solved(config, row, on_event)

    through(rows, claims, work, on_row, workers, outage)


def _solved(config: BatchConfig, row: Row, on_event: OnEvent) -> RowDone:
    began, solving = time.monotonic(), config.setup.setup.config
    deadline = Deadline(solving.timeout)
    pictures = [_opened(config, source, deadline) for source in row.images]
    trace = config.traces / file_name(str(row.id)) if config.traces else None
    problem = Problem(row.question, pictures, derived(solving.seed, row.id), trace)

    def check() -> None:
        on_event(TextDelta(""))  # raises when the batch has ended

    fields, untraced = solve_problem(config.setup, config.roles, problem, deadline, check=check)
    return RowDone(row, fields | {"seconds": round(time.monotonic() - began, 3)}, None, untraced)


def _opened(config: BatchConfig, source: str, deadline: Deadline) -> OpenedImage:
    try:
        return open_source(source, config.base, config.setup.setup.offline, deadline.left())
    except NetworkError as error:  # not the fault of a role, but that of the address in the row
        raise DataError(error.message, error.hint) from error
