"""A rate-limited service, asked by many at once."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from asks import ANSWER, ask
from support.servers import Exchange, error, serve

from virc.backends.interface import Sampling
from virc.backends.openai import link
from virc.backends.openai.backend import OpenAIBackend
from virc.backends.openai.causes import StatusError
from virc.core import retry


@pytest.mark.parametrize(("headers", "backends"), [({}, 1), ({"Retry-After": "0.5"}, 3)])
def test_a_service_of_six_requests_a_second_answers_all(
    headers: dict[str, str], backends: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry, "time", time)  # time passes
    lock, taken, refused = threading.Lock(), list[float](), list[float]()

    def limited(exchange: Exchange) -> None:
        now = time.monotonic()
        with lock:
            is_full = sum(now - each < 1 for each in taken) >= 6
            (refused if is_full else taken).append(now)
        if is_full:
            exchange.send_json(error("Rate limit reached"), 429, headers)
        else:
            exchange.send_events(ANSWER, None)

    with serve(fault=limited) as server, ThreadPoolExecutor(14) as pool:
        made = [OpenAIBackend(server.url, timeout=30) for _ in range(backends)]

        def one(number: int) -> Any:
            return made[number % backends].reply(ask(), Sampling()).text

        assert list(pool.map(one, range(14))) == [ANSWER] * 14
    assert len(refused) < 40


def test_a_try_that_is_not_made_takes_no_place() -> None:
    pace, now = retry.Pace(), time.monotonic()
    tries = link._Tries(link.Exchange("http://a/", began=now), pace, now + 60)
    assert tries.pause(StatusError(429, {}, {}), 0.0) is None
    assert pace.turn() == pytest.approx(0, abs=0.1)
