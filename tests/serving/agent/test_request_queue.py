"""What arrives of a job's reports, whenever its thread ends."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest

from virc.core.timeouts import Deadline
from virc.core.work.threads import started
from virc.serving.agent import request_queue
from virc.serving.agent.request_queue import Job, Ping, RequestQueue, Reservation


class Reporting(Job[str]):
    def run(self, send: Callable[[str], None], release: Callable[[], None]) -> None:
        send("first")
        send("last")


def test_a_thread_that_ends_at_once_loses_no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    def ended(work: Callable[[], Any]) -> "Future[Any]":
        done = started(work)
        done.result()
        return done

    async def gone() -> None:
        await asyncio.Event().wait()

    async def reports() -> list[str | Ping]:
        queue = RequestQueue(1)
        return [each async for each in queue.solve(Reporting(Deadline(60)), Reservation(queue), gone)]

    monkeypatch.setattr(request_queue, "started", ended)
    assert asyncio.run(reports()) == ["first", "last"]
