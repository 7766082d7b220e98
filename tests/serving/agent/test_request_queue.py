"""What the queue does for any job: it waits for its turn, has an end in time, and stops when nobody waits."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable

import pytest

from virc.core.timeouts import Deadline
from virc.serving.agent.request_queue import Job, Ping, RequestQueue, Reservation
from virc.serving.chat_request import RefusedError


class Counting(Job[int]):
    """Sends 1 and 2, and 3 when it is let; stops where nobody waits."""

    def __init__(self, seconds: float | None = None, is_let: bool = True) -> None:
        super().__init__(Deadline(seconds))
        self.go, self.is_over = threading.Event(), threading.Event()
        if is_let:
            self.go.set()

    def run(self, send: Callable[[int], None], release: Callable[[], None]) -> None:
        try:
            send(1)
            release()
            send(2)
            while not self.go.wait(0.005):
                self.check()
            send(3)
        finally:
            self.is_over.set()


async def never() -> None:
    await asyncio.Event().wait()


def solved(queue: RequestQueue, job: Job[int], hold: Reservation | None = None) -> AsyncGenerator[int | Ping, None]:
    return queue.solve(job, hold or queue.reserve(), never)


def test_a_job_that_takes_too_long_ends_with_504() -> None:
    async def play() -> None:
        job = Counting(0.05, is_let=False)
        with pytest.raises(RefusedError, match=r"no answer within 0\.05 s") as refused:
            async for _ in solved(RequestQueue(1), job):
                pass
        assert refused.value.status == 504
        await asyncio.to_thread(job.is_over.wait, 60)
        assert job.left.is_set()

    asyncio.run(asyncio.wait_for(play(), 60))


def test_one_job_runs_at_a_time_and_none_is_taken_while_the_engine_starts_or_the_server_ends() -> None:
    away = list[str]()

    async def play() -> None:
        queue = RequestQueue(1, lambda: not away)
        first, second = Counting(is_let=False), Counting()
        runs = [solved(queue, job) for job in (first, second)]
        assert await anext(runs[0]) == 1
        waiting = asyncio.create_task(anext(runs[1]))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        await runs[0].aclose()
        assert await asyncio.to_thread(first.is_over.wait, 60)
        assert await waiting == 1
        away.append("for a moment")
        with pytest.raises(RefusedError, match="the model is being started again") as refused:
            queue.reserve()
        assert (refused.value.status, refused.value.wait) == (503, 60)
        away.clear()
        queue.closing = True
        with pytest.raises(RefusedError, match="the server is ending"):
            queue.reserve()

    asyncio.run(asyncio.wait_for(play(), 60))
