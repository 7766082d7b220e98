"""Work of several processes: results in order, few items under way, nobody left behind."""

import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import resource_tracker
from pathlib import Path
from typing import TypeVar

from virc.core.errors import SetupError

Item = TypeVar("Item")
Result = TypeVar("Result")


class LostWorkerError(SetupError):
    """A worker process was killed, by the system or by what it worked on."""


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_order(
    work: Callable[[Item], Result], items: Iterable[Item], workers: int, apart: bool = False
) -> Iterator[Result]:
    """What `work` makes of each item, in the order of the items.

    Args:
        work: a function of a module, or a `partial` of one: it goes to the workers by its name.
        items: taken as the results are asked for, at most twice as many ahead as there are workers.
        workers: processes; 1 works in this one. They end with the iteration, and with this process if that is killed.
        apart: 1 works in another one too, and where it ends is the first item without a result.

    Raises:
        LostWorkerError: a worker was killed.
        Exception: what `work` raises, at its item's turn.
    """
    if workers == 1 and not apart:
        yield from map(work, items)
        return
    # A forked worker shares what is imported; but it hangs at locks and pools of other threads, those of libraries
    # such as OpenMP included. Where there is no /proc, they are not known.
    start = "fork" if len([*Path("/proc/self/task").glob("*")]) == 1 else "spawn"
    with _interruptions_put_off():  # between a semaphore and its finalizer, one would leak it
        pool = ProcessPoolExecutor(workers, multiprocessing.get_context(start), _serve)
    under_way: deque[Future[Result]] = deque()
    try:
        for item in items:
            with _interruptions_put_off():
                under_way.append(_submitted(pool, work, item))
            if len(under_way) > 2 * workers:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
    except BrokenProcessPool:
        sentence = "a worker process was killed, perhaps for lack of memory"
        raise LostWorkerError(sentence, "«--workers 1»") from None
    finally:
        pool.shutdown(cancel_futures=True)


def _submitted(pool: ProcessPoolExecutor, work: Callable[[Item], Result], item: Item) -> "Future[Result]":
    """The item under way; where the pool is broken already, that is said at its turn, behind results that came."""
    try:
        return pool.submit(work, item)
    except BrokenProcessPool as error:
        lost: Future[Result] = Future()
        lost.set_exception(error)
        return lost


@contextmanager
def _interruptions_put_off() -> Iterator[None]:
    """Take a Ctrl-C only afterwards. A process begun meanwhile never takes one, not even while it starts."""
    if sys.platform == "win32":
        yield
        return
    resource_tracker.ensure_running()  # the pool would begin it, and it takes the mask off
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve() -> None:
    """Leave Ctrl-C, which reaches every process of a terminal, to the parent; end when that ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # forked, it has the parent's
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
