"""`virc.solve` and `virc.batch` for asyncio."""

import asyncio
import functools
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, Unpack

from virc.core.timeouts import Stop
from virc.models.load import Opened
from virc.solving.python.arguments import Options
from virc.solving.python.many import batch
from virc.solving.python.one import solve
from virc.solving.solution import Solution

P = ParamSpec("P")
T = TypeVar("T")

_MAX_THREADS = 128
_ENDING = 2.0  # seconds that a cancellation waits for its thread


@functools.cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_MAX_THREADS, "virc")


_ASOLVE = """Answer a question about a picture, as `solve` does, while the event loop goes on.

    Cancelled, also by `asyncio.timeout`, it ends its request to the server, or the model in this process at its next
    token. Many may run at a time; with a model of `load` they share its connections. `on_event` and `on_progress` are
    called in another thread.
"""


def _awaitable(work: Callable[P, T], doc: str) -> Callable[P, Coroutine[Any, Any, T]]:
    @functools.wraps(work)
    async def run(*args: P.args, **kwargs: P.kwargs) -> T:
        return await _in_thread(work, *args, **kwargs)

    run.__name__, run.__qualname__ = f"a{work.__name__}", f"a{work.__qualname__}"
    run.__doc__ = doc + (work.__doc__ or "").partition("\n")[2]
    return run


asolve = _awaitable(solve, _ASOLVE)


async def abatch(
    rows: Iterable[object] | str | Path,
    model: str | Path | Opened | None = None,
    *,
    concurrency: int | None = None,
    progress: bool | None = None,
    **options: Unpack[Options],
) -> AsyncGenerator[Solution, None]:
    """Answer many questions, as `batch` does, while the event loop goes on; cancelled or closed, it ends its work.

        async for solution in virc.abatch(rows, endpoint=URL):
            print(solution.answer)

    Args:
        rows: as of `batch`; so are the others, and what is raised, with the first solution.
    """
    solutions = batch(rows, model, concurrency=concurrency, progress=progress, **options)
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
        await asyncio.wait([ended], timeout=_ENDING)  # so that what it uses can be closed
        raise
