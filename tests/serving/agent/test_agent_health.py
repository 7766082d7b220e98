"""/health of an agent endpoint says whether the engine behind it answers, and asks it seldom."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from agent_server import ANSWER, MODEL, Held, Running, listening, scripted
from support import faults
from support.loopback import until
from support.servers import CHAT, MODELS

from virc.backends.interface import Sampling
from virc.reasoning.session import Ask, Reply
from virc.serving.agent import request_queue, server


def status(running: Running) -> int:
    return running.send("GET", "/health")[0]


def probes(running: Running) -> int:
    return sum(request.path == MODELS for request in running.behind.requests)


def test_it_follows_an_engine_that_fails_and_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_FRESH", 0.1)
    with scripted() as running:
        assert status(running) == 200
        running.behind.script.fault, running.behind.script.fault_on = faults.status(503), MODELS
        until(lambda: status(running) == 503)
        error = running.send("GET", "/health")[1]["error"]
        assert (error["message"], error["type"]) == ("the model does not answer", "server_error")
        running.behind.script.fault = None
        until(lambda: status(running) == 200)
        running.behind.die()
        until(lambda: status(running) == 503)


def test_an_engine_that_refuses_the_list_of_models_is_alive() -> None:
    with scripted() as running:
        running.behind.script.fault, running.behind.script.fault_on = faults.status(404), MODELS
        assert status(running) == 200


def test_many_who_ask_share_one_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_FRESH", 3600.0)
    with scripted() as running:
        before = probes(running)
        with ThreadPoolExecutor(20) as pool:
            assert {*pool.map(lambda _: status(running), range(60))} == {200}
        assert probes(running) == before + 1


def test_a_silent_engine_is_asked_once_at_a_time_and_nobody_waits_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_FRESH", 0.1)
    monkeypatch.setattr(server, "_PATIENCE", 0.1)
    with scripted() as running:
        running.behind.script.fault, running.behind.script.fault_on = faults.hang, MODELS
        before = probes(running)
        with ThreadPoolExecutor(20) as pool:
            assert {*pool.map(lambda _: status(running), range(40))} == {503}
        until(lambda: probes(running) > before)
        assert probes(running) == before + 1


class Stuck(Held):
    """Hears nothing while it draws a reply."""

    def __init__(self) -> None:
        super().__init__()
        self.hears, self.stuck = threading.Event(), 0

    def reply(self, ask: Ask, sampling: Sampling, *words: Any) -> Reply:
        self.stuck += 1
        self.hears.wait(60)
        return Reply(ANSWER)


def test_a_stuck_worker_is_replaced_and_when_none_is_left_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_queue, "_STUCK", 0.02)
    stuck, chat = Stuck(), {"model": MODEL, "messages": [{"role": "user", "content": "?"}]}  # of no picture to decode
    with listening(stuck, config={"timeout": 0.3}) as running:

        def ask() -> tuple[int, dict[str, Any]]:
            return running.send("POST", CHAT, json.dumps(chat).encode())

        for count in (1, 2):  # on a busy machine the time may be over before a thread has begun
            until(lambda count=count: ask()[0] == 504 and stuck.stuck == count)  # type: ignore[misc]
            until(lambda: not running.queue.taken)
            if count == 1:
                assert status(running) == 200  # another thread is in its place
        until(lambda: status(running) == 503)
        code, said = ask()
        assert (code, said["error"]["message"]) == (503, "no worker can take a request: all are stuck in others")
        stuck.hears.set()
        until(lambda: status(running) == 200)
        until(lambda: ask()[0] == 200)
