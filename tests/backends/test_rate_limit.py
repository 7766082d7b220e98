"""A rate-limited service, asked by many at once."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from asks import ANSWER, ask
from support.faults import body
from support.servers import Exchange, error, serve

from virc.backends.interface import Sampling
from virc.backends.openai.backend import OpenAIBackend
from virc.backends.openai.causes import AskedServer, StatusError, as_error
from virc.core import retry


@pytest.mark.integration  # time passes
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


@pytest.mark.parametrize(
    ("code", "said", "is_busy"),
    [
        (503, error("The model is overloaded. Please try again later."), True),
        (503, {"message": "Server busy"}, True),
        (503, error("Loading model"), False),
        (400, {"error": {"code": "Throttling.RateQuota", "message": "Requests rate exceeded."}}, True),
        (400, error("max_tokens is too large"), False),
        (403, error("Rate limit exceeded, retry in 2s"), True),
    ],
)
def test_a_busy_server_is_known_by_its_words(code: int, said: object, is_busy: bool) -> None:
    refused = StatusError(code, {}, said)
    assert refused.is_busy == is_busy
    assert refused.is_transient == (is_busy or code >= 500)
    place = AskedServer("http://a/v1", str, True, "", None)
    assert ("is too busy" in str(as_error(refused, place))) == is_busy


@pytest.mark.parametrize(
    "said",
    [
        {"error": {"code": 429, "message": "Rate limit exceeded"}},
        {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
    ],
)
@pytest.mark.parametrize("before", ["", "It is"])
def test_a_limit_within_a_stream_is_tried_again(said: object, before: str) -> None:
    chunk = {"choices": [{"index": 0, "delta": {"content": before}}]}
    events = b"".join(b"data: " + json.dumps(each).encode() + b"\n\n" for each in ([chunk] if before else []) + [said])
    heard = list[str]()
    with serve([ANSWER], fault=body(events, kind="text/event-stream"), times=1) as server:
        reply = OpenAIBackend(server.url).reply(ask(), Sampling(), heard.append)
        assert (reply.text, len(server.chats())) == (ANSWER, 2)
    assert "".join(heard) in ("", before)
