"""What the queue does for any job: it waits for its turn, has an end in time, and stops when nobody waits."""

import asyncio
import signal
import threading
from collections.abc import AsyncGenerator, Callable
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import FastAPI, Response

from virc.core.timeouts import Deadline
from virc.serving.agent import connections
from virc.serving.agent.delivery import placed
from virc.serving.agent.request_queue import Job, LeftError, Ping, RequestQueue, Reservation
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
    return queue.solve(job, hold or queue.place("a client"), never)


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


def test_as_many_jobs_wait_as_there_are_places() -> None:
    away = list[str]()
    queue = RequestQueue(1, waiting=1, ready=lambda: not away)
    first = queue.place("a client")
    queue.place("another")
    with pytest.raises(RefusedError, match="too many requests are waiting") as refused:
        queue.place("a third")
    assert (refused.value.status, refused.value.wait) == (429, 10)
    first.end()
    queue.place("a third").end()
    away.append("for a moment")
    with pytest.raises(RefusedError, match="the model is being started again") as refused:
        queue.place("a third")
    assert (refused.value.status, refused.value.wait) == (503, 60)
    away, queue.closing = [], True
    with pytest.raises(RefusedError):
        queue.place("a third")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (None, 200),
        (LeftError("it left"), 499),
        (ValueError("the engine is gone"), 502),
        (asyncio.CancelledError(), None),
    ],
)
def test_whatever_ends_a_request_frees_its_place(error: BaseException | None, status: int | None) -> None:
    ended: list[str] = []
    hold: Any = SimpleNamespace(end=lambda: ended.append("ended"))
    queue: Any = SimpleNamespace(place=lambda client: hold)
    app = SimpleNamespace(state=SimpleNamespace(served=SimpleNamespace(api_key=None), queue=queue))
    request: Any = SimpleNamespace(client=SimpleNamespace(host="192.0.2.1"), app=app)

    async def answered(asked: Any, given: Any) -> Response:
        assert (asked, given) == (request, hold)
        if error:
            raise error
        return Response(status_code=200)

    async def asked() -> int:
        return (await placed(request, answered, lambda error: RefusedError(str(error), status=502))).status_code

    if status in (200, 499):
        assert asyncio.run(asked()) == status
    else:
        with pytest.raises(RefusedError if status else type(error)) as raised:  # type: ignore[arg-type]
            asyncio.run(asked())
        assert getattr(raised.value, "status", None) == status
    assert ended == ([] if error is None else ["ended"])  # else its delivery ends it


@pytest.mark.parametrize(("grace", "late"), [(1000.0, False), (-1.0, True)])
def test_a_server_that_ends_waits_for_answers_and_not_for_ever(
    monkeypatch: pytest.MonkeyPatch, grace: float, late: bool
) -> None:
    monkeypatch.setattr(connections, "GRACE", grace)
    app, told = FastAPI(), list[int]()
    app.state.queue = queue = RequestQueue(1)
    server = connections.server(app, told.append)
    answer: Any = object()
    queue.answers.add(answer)

    def ends() -> bool:
        return asyncio.run(server.on_tick(1))

    assert not ends()  # nobody has said that it is to end
    server.handle_exit(signal.SIGTERM, None)
    assert (told, ends()) == ([1], late)
    queue.answers.discard(answer)
    assert ends()
    assert not server.force_exit
