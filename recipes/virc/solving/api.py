"""Solve one problem, or the rows of a file: what `virc solve` and `virc batch` run."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path

import msgspec

from virc.core.errors import ConfigError, DataError, SetupError
from virc.core.events import Reporter
from virc.core.files import contents
from virc.core.interpreter import resume_collection
from virc.core.limits.image_memory import Terms
from virc.core.limits.problem import check_problem
from virc.core.text import clause, duration
from virc.core.timeouts import Deadline
from virc.models.costs import Budget
from virc.models.load import Opened, described
from virc.reasoning.images import OpenedImage
from virc.reasoning.opening.pictures import opened_all
from virc.reasoning.resize import smart_resize
from virc.solving.answer_file import with_rows, without_answered, write_answers
from virc.solving.asking import Asking
from virc.solving.image_source import (
    STREAM,
    File,
    Picture,
    Source,
    Unfolded,
    all_shown,
    is_pipe,
    page_file,
    report_losses,
    sources_of,
    standard_input,
    unfolded,
    with_scales,
)
from virc.solving.one import OnEvent, check_time
from virc.solving.outcome import chosen, facts, failure_of, outcome, over_limit, told, trace_folders, write_traces
from virc.solving.setup import OnFacts, Setup, open_setup
from virc.solving.solution import Solution, view_of
from virc.solving.solver import SolverSetup, open_solver
from virc.solving.sources.row_files import RowFile
from virc.solving.strategies import registry as strategies
from virc.solving.traces.continuing import Conversation, seen_from, traced_pictures
from virc.solving.traces.files import check_writable

_SLOW = 60.0  # seconds
_TOKENS_OF_A_TURN = 200
_MAX_QUESTION = 2**20  # bytes of a file


def solve_images(
    setup: Setup,
    images: Sequence[Picture],
    question: str,
    report: Reporter,
    *,
    on_facts: OnFacts = lambda _: None,
    on_open: Callable[[Opened], None] = lambda _: None,
    on_event: OnEvent = lambda _: None,
    with_view: bool = False,
    former: Conversation | None = None,
    on_pictures: Callable[[Sequence[Unfolded]], bool] = lambda _: True,
) -> Solution:
    """Solve one problem; what broke it off is in `error`. `on_open` gets the model when it is loaded.

    `on_pictures` gets what is shown, and says whether it is asked about.

    The question is asked after the conversation `former`, if there is one, about the same pictures.
    """
    check_problem(images, question)
    deadline, began = Deadline(setup.config.timeout), time.monotonic()
    sources, choice = _sources(setup, images, former, report, deadline), former.media if former else setup.config.media
    parts = [*unfolded(sources, images, choice, report, partial(check_time, deadline), strict=True)]
    if not on_pictures(parts):
        return Solution(None, {})
    page = next(iter(choice.pages), None)
    with ExitStack() as opening:
        pictures = opening.enter_context(opened_all(_paged(parts, page), Terms(seconds=deadline.left())))
        folders = trace_folders(setup.trace, setup.config) if setup.trace else []
        check_writable(setup.trace)
        seen = report_losses(parts, pictures, page, report)
        on_facts(seen)
        before = time.monotonic()
        with deadline.paused():
            opened, known = open_setup(setup, report, on_facts)
        began += time.monotonic() - before
        try:
            if former and (no_answer := former.check(opened, known)):
                return Solution(None, known | seen, no_answer)
            on_open(opened)
            _estimate(opened, pictures, report)
            shown = all_shown(pictures, parts, opened.chat_protocol, opened.backend.grid)
            opening.close()  # their full size is needed no longer
            if text := over_limit(opened, shown):
                report.note(text)
            config, protocol = setup.config_of(opened.name), opened.chat_protocol
            asked = (config, opened.backend, protocol, shown, question, deadline)
            with strategies.grader_of(setup.config, setup.graders, opened, report) as grader:
                solved = strategies.solve(
                    Asking(*asked, on_event=on_event, grader=grader, former=former.trace if former else None)
                )
            seen["pictures"] = with_scales(seen["pictures"], shown)
        finally:
            if opened is not setup.opened:
                opened.close()
    seconds = round(time.monotonic() - began, 3)
    fields = known | outcome(solved, opened, known) | seen | {"warnings": seen["warnings"] + told(solved, report)}
    on_facts(fields)
    traced = traced_pictures(images, sources, choice)
    untraced = write_traces(
        folders, solved, setup.config, known, lambda folder: {"pictures": seen_from(folder, traced)}
    )
    trace = None if untraced else setup.trace
    if trace:
        fields["trace"] = str(trace)
        on_facts(fields)
    view = view_of(chosen(solved), known) if with_view and solved.attempts else None
    error = failure_of(solved, opened) or untraced
    solution = Solution(solved.answer, fields, error, trace, seconds, view=view)
    if solved.answer is None:
        return solution
    talk = Conversation(chosen(solved).trace, opened.name, known["settings"]["chat_protocol"], traced)

    def ask(question: str, trace: str | Path | None, on_event: OnEvent) -> Solution:
        traced = msgspec.structs.replace(setup, trace=Path(trace) if trace else None)
        return solve_images(
            traced, images, question, report, on_event=on_event, with_view=True, former=talk
        )  # fmt: skip

    return msgspec.structs.replace(solution, conversation=talk, asked_on=ask)


def _sources(
    setup: Setup, images: Sequence[Picture], former: Conversation | None, report: Reporter, deadline: Deadline
) -> list[Source]:
    for name in filter(is_pipe, images):
        report.start(f"waiting for what is written to the pipe {name!s}")
    if former:
        return former.sources_of(images, setup.offline, deadline)
    return sources_of(images, setup.offline, deadline, pipes=True)


def _paged(parts: Sequence[Unfolded], page: int | None) -> list[File]:
    """The files of pictures, of those with several pages the one that is chosen."""
    return [each.file if each.place or not page else page_file(each.file, page, each.given) for each in parts]


def read_question(file: str) -> str:
    try:
        content = standard_input().read(_MAX_QUESTION + 1) if file == STREAM else contents(Path(file), _MAX_QUESTION)
        question = content.decode("utf-8-sig").strip()
    except OSError as error:
        raise DataError(f"cannot read the question {file}: {clause(error)}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"the question {file} is no UTF-8 text") from error
    if not question or len(content) > _MAX_QUESTION:
        raise DataError(f"the question {file} is {'empty' if not question else 'over 1 MiB'}")
    return question


def _estimate(opened: Opened, images: Sequence[OpenedImage], report: Reporter) -> None:
    if opened.estimate is None:
        report.progress(f"waiting for the first turn of {opened.name}")
        return
    grid = opened.backend.grid
    areas = [math.prod(smart_resize(*image.size, grid)) for image in images]
    tokens = sum(areas) // grid.factor**2
    if not areas:
        return
    reading, a_token = opened.estimate(tokens)
    drawing = _TOKENS_OF_A_TURN * a_token
    text = f"on the CPU: {tokens:,} image tokens, about {duration(reading + drawing)} for the first turn"
    if reading > _SLOW:
        pixels = max(int(max(areas) * _SLOW / reading), grid.min_pixels)
        text += f"; «--max-pixels {pixels}» would make it about {duration(_SLOW + drawing)}"
    report.note(text)


def solve_file(
    setup: Setup | SolverSetup,
    rows: RowFile,
    to: str | None,
    at_once: int | None,
    blank: Mapping[str, object],
    report: Reporter,
    on_line: Callable[[str], None],
    max_cost: float | None = None,
) -> None:
    """Solve every row of a file, until rows have cost `max_cost`.

    Lines go to `to`, as CSV or TSV by its name, else as JSON lines to `on_line`.

    A model on this machine is loaded if a row is to be solved.
    """
    rows = with_rows(rows)
    if isinstance(setup, Setup) and not (setup.choice.endpoint or setup.opened):
        with suppress(ConfigError, SetupError):  # is found again where the model is opened
            known = facts(described(setup.choice), setup.config)
            rows, is_finished = without_answered(rows, to, known, report)
            if is_finished:
                return
    with open_solver(setup, rows.base, at_once, report) as solver:
        resume_collection()
        write_answers(solver.solve, rows, to, solver.known, blank, report, on_line, Budget(max_cost))
