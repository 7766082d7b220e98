"""Requests that nobody waits for any more: the server sees their connection end."""

import itertools
import threading
import time
from collections.abc import Callable
from types import SimpleNamespace

import pytest
from asks import ANSWER, ask
from support.faults import hang
from support.servers import Exchange as Served
from support.servers import error, piece, serve
from support.silence import Silence

from virc.backends.interface import Sampling
from virc.backends.openai.backend import OpenAIBackend
from virc.core.errors import NetworkError
from virc.core.timeouts import Deadline, Stop


def _before_headers(exchange: Served) -> None:
    pass


def _in_the_stream(exchange: Served) -> None:
    exchange.start_events()
    exchange.send_event(piece("<think>"))


@pytest.mark.parametrize("begin", [_before_headers, _in_the_stream])
@pytest.mark.parametrize("reused", [False, True])
def test_a_stop_ends_the_request_of_a_silent_server_alone(
    begin: Callable[[Served], None], reused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("virc.core.retry.random.uniform", lambda *_: 0.0)  # no pause before a next try
    silence, stop, raised = Silence(begin), Stop(), list[BaseException]()
    before = {*threading.enumerate()}

    def draw() -> None:
        with stop.applied():
            try:
                backend.reply(ask(), Sampling())
            except BaseException as error:
                raised.append(error)

    with serve([ANSWER], fault=silence, times=1) as server:
        backend = OpenAIBackend(server.url, timeout=600.0)
        if not reused:
            backend.move(server.url, None)
        drawing = threading.Thread(target=draw, daemon=True)
        drawing.start()
        assert silence.began.acquire(timeout=60)
        assert backend.reply(ask(), Sampling()).finish == "stop"  # on a connection of its own
        stop.set()
        drawing.join(60)
        assert silence.ended.acquire(timeout=60)
        assert [type(error) for error in raised] == [KeyboardInterrupt]
        for thread in {*threading.enumerate()} - before:
            if thread.name.endswith("(run)"):  # of `within`
                thread.join(60)
        assert (len(server.chats()), server.accepted) == (2, 2 + (not reused))  # it is not tried again
        backend.close()


def test_a_time_out_ends_the_request_at_the_server() -> None:
    silence = Silence(_before_headers)
    with serve([ANSWER], fault=silence) as server:
        backend = OpenAIBackend(server.url, timeout=600.0)
        for seconds in (0.05, 1.0, 10.0):  # a busy machine may not have sent it by then
            with pytest.raises(NetworkError, match="no whole answer"):
                backend.reply(ask(), Sampling(), seconds=seconds)
            if silence.began.acquire(blocking=False):
                break
        assert silence.ended.acquire(timeout=60)
        backend.close()


def test_a_stop_that_is_set_before_lets_nothing_begin() -> None:
    stop = Stop()
    stop.set()
    with serve([ANSWER], fault=hang) as server:
        backend = OpenAIBackend(server.url)
        with stop.applied(), pytest.raises(KeyboardInterrupt):
            backend.reply(ask(), Sampling())
        with stop.applied(), pytest.raises(KeyboardInterrupt):
            Deadline(None).check()
        Deadline(None).check()
        backend.close()


@pytest.mark.parametrize(
    ("timeout", "seconds", "requests"), [(120.0, None, 3), (500.0, 45.0, 1), (60.0, 500.0, 2), (1000.0, None, 5)]
)
def test_one_time_holds_for_all_that_a_server_refuses(
    timeout: float, seconds: float | None, requests: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused, late = iter(("temperature", "stream", "max_tokens", "max_completion_tokens")), itertools.count(50, 50)
    now = SimpleNamespace(monotonic=time.monotonic, sleep=time.sleep)
    monkeypatch.setattr("virc.core.timeouts.time", now)
    monkeypatch.setattr("virc.backends.openai.link.time", now)

    def answer(exchange: Served) -> None:
        passed = next(late)
        now.monotonic = lambda: time.monotonic() + passed
        if name := next(refused, None):
            exchange.send_json(error(f"Unsupported parameter: '{name}'."), 400)
        else:
            exchange.complete(exchange.body or {})

    with serve([ANSWER], fault=answer, usage=False) as server:
        backend = OpenAIBackend(server.url, timeout=timeout)
        if timeout == 1000:
            assert backend.reply(ask(), Sampling(), None, seconds).finish == "stop"
        else:
            with pytest.raises(NetworkError, match=rf"gave no whole answer in {min(timeout, seconds or timeout):g} s"):
                backend.reply(ask(), Sampling(), None, seconds)
        assert len(server.chats()) == requests
