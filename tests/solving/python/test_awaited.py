"""`virc.asolve` and `virc.abatch`: many at a time in one event loop, and ended when nobody awaits them."""

import asyncio
import itertools
import threading
from pathlib import Path

import pytest
from support.servers import MODEL, serve
from support.silence import Silence
from support.solving import ROOT, answer

from virc.models.load import load
from virc.solving.python.many import abatch, asolve


@pytest.mark.parametrize("how", ["cancel", "timeout"])
def test_a_cancelled_problem_ends_its_request_alone(image: Path, how: str) -> None:
    silence = Silence()

    async def ask() -> None:
        with load(MODEL, endpoint=server.url) as model:
            async with asyncio.timeout(None) as limit:
                waiting = asyncio.create_task(asolve(image, "q", model, samples=3))
                assert await asyncio.to_thread(silence.began.acquire, timeout=60)
                if how == "timeout":
                    limit.reschedule(0)
                    await waiting
                waiting.cancel()
                await waiting

    with serve([answer("97")], fault=silence) as server:
        with pytest.raises(asyncio.CancelledError if how == "cancel" else TimeoutError):
            asyncio.run(ask())
        assert silence.ended.acquire(timeout=60)
        assert len(server.chats()) == 1  # neither tried again nor sampled


def test_a_cancelled_model_of_this_process_stops() -> None:
    heard = list[object]()
    triangle = ROOT / "tests" / "pictures" / "triangle.png"

    async def ask() -> None:
        with load("tiny") as model:
            assert repr(model) == f"Opened('tiny', device={model.device!r})"
            waiting = asyncio.create_task(asolve(triangle, "What is m∠B?", model, samples=1000, on_event=heard.append))
            while not heard:
                await asyncio.sleep(0.005)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert (await asolve(triangle, "What is m∠B in triangle MBH?", model)).answer == "73"

    asyncio.run(ask())
    assert len(heard) < 20_000  # pieces: 1,000 samples have some 40,000


def test_a_batch_is_awaited_in_order_and_ends_when_it_is_left(image: Path) -> None:
    rows = [(image, f"Say {number}") for number in range(5)]

    async def ask() -> None:
        with load(MODEL, endpoint=server.url) as model:
            assert [each.row async for each in abatch(rows, model)] == rows
            server.script.fault = silence
            waiting = asyncio.create_task(anext(abatch(rows, model, concurrency=2)))
            for _ in range(2):
                assert await asyncio.to_thread(silence.began.acquire, timeout=60)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            server.script.fault = None
            solutions = abatch(itertools.cycle(rows), model)
            async for solution in solutions:
                assert solution.answer == "97"
                break
            await solutions.aclose()

    silence = Silence()
    with serve([answer("97")]) as server:
        asyncio.run(ask())
        for _ in range(2):
            assert silence.ended.acquire(timeout=60)
    for thread in threading.enumerate():
        if thread.name in ("virc-batch", "virc-row"):
            thread.join(60)
            assert not thread.is_alive()
