"""Work that mostly waits, several pieces at a time."""

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

_Item = TypeVar("_Item")
_LEAVE_SECONDS = 0.5


def together(work: Callable[[_Item], None], items: Sequence[_Item], threads: int) -> Iterator[_Item]:
    """Each item when `work` has done it; the first error ends it all, and so does leaving the iteration.

    Who still waits for the network half a second later is left behind: a thread that cannot be woken shall keep nobody.

    Raises:
        BaseException: what `work` raises.
    """
    left: queue.SimpleQueue[_Item] = queue.SimpleQueue()
    for item in items:
        left.put(item)
    done: queue.SimpleQueue[tuple[_Item, BaseException | None]] = queue.SimpleQueue()
    ended = threading.Event()

    def run() -> None:
        while not ended.is_set():
            try:
                item = left.get_nowait()
            except queue.Empty:
                return
            error: BaseException | None = None
            try:
                work(item)
            except BaseException as failure:
                error = failure
            done.put((item, error))

    started = [threading.Thread(target=run, daemon=True) for _ in range(min(threads, len(items)))]
    for thread in started:
        thread.start()
    try:
        for _ in items:
            item, error = done.get()
            if error is not None:
                raise error
            yield item
    finally:
        ended.set()
        end = time.monotonic() + _LEAVE_SECONDS
        for thread in started:
            thread.join(max(0.0, end - time.monotonic()))
