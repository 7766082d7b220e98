"""Requests that nobody waits for any more: the server sees their connection end."""

import threading
from collections.abc import Callable

import pytest
from asks import ANSWER, ask
from support.servers import Exchange as Served
from support.servers import piece, serve
from support.silence import Silence

from virc.backends.chat.backend import OpenAIBackend
from virc.backends.interface import Sampling
from virc.core.errors import NetworkError
from virc.core.timeouts import Stop


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
            backend.link._reach(server.url, None)
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


def test_a_finished_reply_whose_stream_stays_open_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("virc.backends.chat.reply._SILENT_SECONDS", 0.05)

    def finish(exchange: Served) -> None:
        _in_the_stream(exchange)
        exchange.send_event(piece("It is 3.</think> 3", "stop"))
        exchange.send_event({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 9}})

    silence = Silence(finish)
    with serve([ANSWER], fault=silence) as server:
        backend = OpenAIBackend(server.url, timeout=30.0)
        reply = backend.reply(ask(), Sampling())
        assert (reply.text, reply.completion_tokens) == ("<think>It is 3.</think> 3", 9)
        assert silence.ended.acquire(timeout=60)
        assert len(server.chats()) == 1
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
