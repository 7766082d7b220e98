"""Many problems for a Python caller: solutions in the order of the rows, while others are in work; and asyncio."""

import asyncio
import functools
import itertools
import operator
import os
import queue
import sys
import threading
from collections.abc import AsyncGenerator, Callable, Collection, Coroutine, Generator, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, ParamSpec, TypeVar, Unpack

import msgspec

from virc.config.declared import with_options
from virc.core.errors import UsageError
from virc.core.events import Event, Reporter
from virc.core.result_log import Claims
from virc.core.text import counted
from virc.core.timeouts import Stop, on_stop
from virc.models.costs import Budget
from virc.models.load import Opened
from virc.solving.batch import RowDone
from virc.solving.outcome import Fields
from virc.solving.python.one import ManyOptions, prepared, solve
from virc.solving.rows import ProblemRow
from virc.solving.setup import Setup
from virc.solving.solution import Solution
from virc.solving.solver import Solver, SolverSetup, open_solver
from virc.solving.sources.columns import check_chosen
from virc.solving.sources.python_rows import check_rows, read_python_rows
from virc.solving.sources.row_files import open_rows
from virc.solving.traces.files import check_writable

P = ParamSpec("P")
T = TypeVar("T")

_AHEAD = 2
"""Rows that are read ahead, for each row that can be in work."""
_ENDING = 10.0  # seconds for which a closed generator waits for its threads
_CANCELLING = 2.0  # seconds for which a cancelled coroutine waits for its thread
_MAX_THREADS = 128  # for coroutines


@with_options
def batch(
    rows: Iterable[object] | str | Path, model: str | Path | Opened | None = None, **options: Unpack[ManyOptions]
) -> Generator[Solution, None, None]:
    """Answer many questions, some at a time, and yield the solutions in the order of the rows.

        for solution in virc.batch([("a.png", "How many?"), ("b.png", "How many?")], endpoint=URL):
            print(solution.row, solution.answer)

    A row that fails is a solution with its `error`. Rows are read in a thread, at most two ahead for each that is in
    work, so that they may be endless. A generator that is closed ends its requests and threads.

    Args:
        rows: mappings with `image` or `images` and `question`; pairs of an image, or a list of images, and a question;
            a data frame; or the name of a file that `virc batch` reads. Images are as of `solve`; paths in a file
            start from its folder.
        model: as of `solve`. It is opened with the first solution, and closed after the last if it was not open before.
        {options}

    A `trace` is a folder in which each row has one of its own, by its id or position; `timeout` is that of one row;
    `seed` is varied by the row's id or position. Without `trust_rows`, rows may name files below their folder (that of
    the file of rows, or this one) and public addresses.

    Raises:
        UsageError, ConfigError: at once, for arguments that `solve` refuses, or rows that are none.
        LimitError: after the solutions of the rows that were begun, where `max_cost` left others.
        VircError: the model cannot be opened, its endpoint stays away, or row after row fails alike.
    """
    concurrency, max_cost, columns = options["concurrency"], options["max_cost"], options["columns"]
    check_rows(rows)
    if concurrency is not None and (type(concurrency) is not int or concurrency < 1):
        raise UsageError(f"concurrency must be a whole number of at least 1, not {concurrency!r}")
    asked = prepared(model, options)
    if max_cost is not None and not isinstance(asked, Setup):
        raise UsageError("max_cost does not go with pipeline=", "leave max_cost out")
    check_writable(asked.trace)
    if columns and not isinstance(rows, str | os.PathLike):
        raise UsageError("columns= names those of a file, and the rows are none", "name the keys of the rows so")
    opening = _opened_rows(rows, options["trust_rows"], check_chosen(columns), tuple(options["ignore"]))
    return _solutions(opening, asked, options, Budget(max_cost))


class _Rows(NamedTuple):
    """Each row as the caller gave it and as it is solved, the folder of their paths, and their number if known."""

    numbered: Iterator[tuple[object, ProblemRow]]
    base: Path
    total: int | None


@contextmanager
def _opened_rows(rows: Any, trusted: bool, chosen: Mapping[str, str], ignored: Collection[str]) -> Iterator[_Rows]:
    if not isinstance(rows, str | os.PathLike):
        yield _Rows(read_python_rows(rows, trusted), Path(), operator.length_hint(rows) or None)
        return
    with open_rows(os.fspath(rows), chosen=chosen, trusted=trusted, ignored=ignored) as file:
        numbered = (({"id": row.id, "images": [*row.images], **row.passed}, row) for row in file.rows)
        yield _Rows(numbered, file.base, file.count())


def _solutions(
    opened_rows: AbstractContextManager[_Rows], asked: Setup | SolverSetup, options: ManyOptions, budget: Budget
) -> Generator[Solution, None, None]:
    with ExitStack() as stack:
        rows = stack.enter_context(opened_rows)
        bar = stack.enter_context(closing(_Bar(rows.total, options["progress"])))
        report = Reporter(options["on_progress"] or bar.tell)
        opening = functools.partial(open_solver, asked, rows.base, options["concurrency"], report, views=True)
        done = 0
        for solution in stack.enter_context(closing(_in_order(rows.numbered, opening, budget))):
            bar.count(solution)
            done += 1
            yield solution
        if limited := budget.error(f"{counted(done, 'row')} done", "batch(...) of the rows that are left"):
            raise limited


def _in_order(
    numbered: Iterator[tuple[object, ProblemRow]], opening: Callable[[], AbstractContextManager[Solver]], budget: Budget
) -> Generator[Solution, None, None]:
    """The solutions of rows in their order, while a thread solves further rows; closing the generator ends it.

    The thread reads a row only when `may_read` allows it, and puts into `finished` each solution with its place, then
    None, or the error that ended it.
    """
    stop, may_read = Stop(), threading.Semaphore(0)
    finished: queue.SimpleQueue[tuple[int, Solution] | BaseException | None] = queue.SimpleQueue()
    in_work: dict[int, object] = {}  # place -> the caller's row
    failed: list[BaseException] = []
    claims = Claims()
    claims.may_begin = budget.may_begin

    def rows_ahead() -> Iterator[ProblemRow]:
        for place in itertools.count():
            may_read.acquire()
            try:
                pair = None if stop.is_set() else next(numbered, None)
            except Exception as error:  # raised when the rows before it are done
                failed.append(error)
                return
            if pair is None:
                return
            in_work[place], row = pair
            yield msgspec.structs.replace(row, line=place)

    def on_row(known: Fields, done: RowDone) -> None:
        place = done.row.line
        finished.put((place, _solution(done, known, in_work.pop(place))))
        budget.add(done.fields)
        if budget.is_spent:  # no row that was read begins any more, so none would let another be read
            may_read.release()

    def run() -> None:
        try:
            with stop.applied(), opening() as solver:
                may_read.release(_AHEAD * solver.workers)
                solver.solve(rows_ahead(), claims, functools.partial(on_row, solver.known), stop)
            finished.put(failed[0] if failed else None)
        except BaseException as error:
            finished.put(error)

    thread = threading.Thread(target=run, name="virc-batch", daemon=True)
    early: dict[int, Solution] = {}  # solutions whose turn has not come
    with stop.waking(may_read.release):
        thread.start()
        try:
            for place in itertools.count():
                while place not in early:
                    item = _next_of(finished)
                    if item is None:  # what is left was done before an earlier row, which did not begin
                        yield from (early[later] for later in sorted(early))
                        return
                    if isinstance(item, BaseException):
                        raise item
                    solved_place, solution = item
                    early[solved_place] = solution
                yield early.pop(place)
                may_read.release()
        finally:
            stop.set()
            thread.join(_ENDING)


def _next_of(items: "queue.SimpleQueue[T]") -> T:
    """The next item of a queue; a KeyboardInterrupt if the stop that applies to this thread is set before."""
    interrupted: Any = KeyboardInterrupt()
    with on_stop(lambda: items.put(interrupted)):
        return items.get()


def _solution(done: RowDone, known: Fields, row: object) -> Solution:
    fields = known | done.fields
    trace = fields.get("trace")
    return Solution(
        fields.get("answer"),
        fields,
        done.error or done.untraced,
        Path(trace) if trace else None,
        fields.get("seconds"),
        row,
        done.view,
    )


class _Bar:
    """A line on stderr that says how far a batch is; `shown` None: on a terminal and in a notebook."""

    def __init__(self, total: int | None, shown: bool | None) -> None:
        from tqdm import tqdm  # type: ignore[import-untyped, unused-ignore]

        if shown is None:
            shown = bool(sys.stderr and sys.stderr.isatty()) or "ipykernel" in sys.modules
        unwatched: Any = type("Bar", (tqdm,), {"monitor_interval": 0})  # it would start a thread that never ends
        self._bar, self._failed, self._shown = unwatched(total=total, unit="row", disable=not shown), 0, shown
        self.close: Callable[[], None] = self._bar.close

    def count(self, solution: Solution) -> None:
        self._failed += solution.answer is None
        self._bar.set_postfix({"no answer": self._failed} if self._failed else {}, refresh=False)
        self._bar.update()

    def tell(self, event: Event) -> None:
        if self._shown and event.kind in ("note", "warning"):
            self._bar.write(event.text, file=sys.stderr)


@functools.cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_MAX_THREADS, "virc")


def _awaitable(work: Callable[P, T], doc: str) -> Callable[P, Coroutine[Any, Any, T]]:
    @functools.wraps(work)
    async def run(*args: P.args, **kwargs: P.kwargs) -> T:
        return await _in_thread(work, *args, **kwargs)

    run.__name__, run.__qualname__ = f"a{work.__name__}", f"a{work.__qualname__}"
    run.__doc__ = doc + (work.__doc__ or "").partition("\n")[2]
    return run


asolve = _awaitable(
    solve,
    """Answer a question about a picture, as `solve` does, while the event loop goes on.

    Cancelled, also by `asyncio.timeout`, it ends its request to the server, or the model in this process at its next
    token. Many may run at a time; with a model of `load` they share its connections. `on_event` and `on_progress` are
    called in another thread.
""",
)


@with_options
async def abatch(
    rows: Iterable[object] | str | Path, model: str | Path | Opened | None = None, **options: Unpack[ManyOptions]
) -> AsyncGenerator[Solution, None]:
    """Answer many questions, as `batch` does, while the event loop goes on; cancelled or closed, it ends its work.

        async for solution in virc.abatch(rows, endpoint=URL):
            print(solution.answer)

    Args:
        rows: as of `batch`; so are the others, and what is raised, with the first solution.
    """
    solutions = batch(rows, model, **options)
    try:
        while (solution := await _in_thread(next, solutions, None)) is not None:
            yield solution
    finally:
        with suppress(ValueError):  # it is in work: the stop of its thread ends it
            await _in_thread(solutions.close)


async def _in_thread(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Return the result of `work`, done in a thread; cancelled, the work is stopped (see `Stop`).

    `asyncio.to_thread` has the threads of the whole program, as few as there are cores and four, and never stops one.
    """
    stop = Stop()

    def run() -> T:
        with stop.applied():
            return work(*args, **kwargs)

    running = _pool().submit(run)
    try:
        return await asyncio.wrap_future(running)
    except asyncio.CancelledError:
        stop.set()
        ended = asyncio.wrap_future(running)
        ended.add_done_callback(lambda future: future.cancelled() or future.exception())  # nobody is to hear of it
        await asyncio.wait([ended], timeout=_CANCELLING)  # so that what it uses can be closed
        raise
