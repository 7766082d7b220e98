"""/health of an agent endpoint says whether the engine behind it answers, and asks it seldom."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from agent_server import Running, scripted
from support import faults
from support.loopback import until
from support.servers import MODELS

from virc.serving.agent import server


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
        running.behind.script.fault = faults.status(404)  # alive, without a list of models
        until(lambda: status(running) == 200)
        running.behind.die()
        until(lambda: status(running) == 503)


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
