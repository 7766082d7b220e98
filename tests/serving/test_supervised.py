"""An engine behind an agent endpoint that ends by itself, hangs or does not come back.

A stand-in is what is started, killed and started again; test_agent_engine.py does the same to vLLM.
"""

import json
import os
import signal
import socket
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.loopback import free_port

from virc.core import processes
from virc.core.errors import EngineError
from virc.core.events import Event
from virc.core.plan import Plan, Step
from virc.engines.vllm import plan as vllm
from virc.envs import making
from virc.serving import serve, vllm_process
from virc.serving.agent import server as agent_server
from virc.serving.start import Server
from virc.stages.serve import Config

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="vLLM runs on Linux only")
STAND_IN = """
import os, sys, time
from pathlib import Path
sys.path[:0] = sys.argv[1].split(os.pathsep)
from support import faults, servers
port, folder = int(sys.argv[2]), Path(sys.argv[3])
(folder / "new").write_text(str(os.getpid()))
(folder / "new").rename(folder / "pid")
while (folder / "slow").exists():
    time.sleep(0.05)
if (folder / "broken").exists():
    raise ValueError("no memory is left")
answer = "<think>It reads 97.</think><answer>97</answer>"
with servers.serve([answer], port=port, models=("tiny",), fault=faults.body(b""), fault_on="/health"):
    print("the stand-in is up", flush=True)
    time.sleep(600)
"""


class Standing:
    """An agent endpoint with a stand-in for its vLLM."""

    def __init__(self, folder: Path, server: Server, events: list[Event], configs: list[Config]) -> None:
        self.folder, self.server, self.events, self.configs = folder, server, events, configs
        self.error: EngineError | None = None
        self.thread = threading.Thread(target=self.wait)
        self.thread.start()

    def wait(self) -> None:
        try:
            self.server.wait()
        except EngineError as error:
            self.error = error

    def close(self) -> None:
        self.server._stop()
        self.thread.join(60)
        assert not self.thread.is_alive()

    @property
    def pid(self) -> int:
        return int((self.folder / "pid").read_text())

    def signal(self, number: signal.Signals) -> int:
        """Send it to the engine."""
        pid = self.pid
        os.killpg(pid, number)
        return pid

    def health(self) -> tuple[int, dict[str, Any]]:
        return self.send(f"{self.server.url.removesuffix('/v1')}/health")

    def ask(self) -> tuple[int, dict[str, Any]]:
        body = {"model": "tiny", "messages": [{"role": "user", "content": "What is it?"}]}
        return self.send(f"{self.server.url}/chat/completions", json.dumps(body).encode())

    def send(self, url: str, body: bytes | None = None) -> tuple[int, dict[str, Any]]:
        """The status and what came with it, the header Retry-After included."""
        try:
            with urllib.request.urlopen(urllib.request.Request(url, body), timeout=60) as answer:
                return answer.status, json.loads(answer.read() or b"{}")
        except urllib.error.HTTPError as error:
            return error.code, {"wait": error.headers["retry-after"], **json.load(error)}

    def warnings(self) -> list[Event]:
        return [event for event in self.events if event.kind == "warning"]


@pytest.fixture
def standing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Standing]:
    configs: list[Config] = []

    def plan(config: Config, place: vllm.Place) -> Plan:
        configs.append(config)
        paths = os.pathsep.join([str(Path(__file__).parents[1]), *filter(None, sys.path)])
        return Plan(Step((sys.executable, "-c", STAND_IN, paths, str(config.port), str(tmp_path)), "stand in"), {})

    monkeypatch.setenv("VIRC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(vllm, "plan", plan)
    monkeypatch.setattr(making, "made", lambda *_: None)
    monkeypatch.setattr(agent_server, "_FRESH", 0.1)
    monkeypatch.setattr(agent_server, "_PATIENCE", 60)
    events: list[Event] = []
    words = {"agent": True, "engine": "vllm", "device": "cpu", "port": free_port()}
    found = Standing(tmp_path, serve("tiny", on_event=events.append, **words), events, configs)
    yield found
    found.close()


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 200
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.integration
def test_an_engine_that_is_killed_is_started_again(standing: Standing) -> None:
    assert standing.ask()[0] == standing.health()[0] == 200
    (standing.folder / "slow").touch()
    killed = standing.signal(signal.SIGKILL)
    until(lambda: "started again" in str(standing.health()))
    status, said = standing.ask()
    assert (status, said["error"]["message"], said["wait"]) == (
        503,
        "the model is being started again: ask again later",
        "60",
    )
    (standing.folder / "slow").unlink()
    until(lambda: standing.health()[0] == 200)
    assert standing.ask()[0] == 200
    assert standing.pid != killed
    (warning,) = standing.warnings()
    assert warning.text == (
        "vLLM ended: exit code -9, the stand-in is up; it is started again, 1 of at most 3 times in 30 minutes"
    )
    assert warning.hint
    assert "the stand-in is up" in Path(warning.hint.removeprefix("see ")).read_text()
    assert standing.events[-1].text == "vLLM answers again"
    before, now = standing.configs[-2:]
    assert before.port != now.port  # where another user of this machine may wait by now
    assert before.api_key != now.api_key


@pytest.mark.integration
def test_one_that_ends_while_the_server_ends_is_not_started_again(standing: Standing) -> None:
    running = standing.server._stop.args[0]  # type: ignore[attr-defined]
    hold = running._queue.place("a client")
    running._queue.answers.add(hold)  # which the server waits for
    running.handle_exit(signal.SIGTERM, None)
    ended = standing.signal(signal.SIGTERM)
    time.sleep(1)
    assert standing.pid == ended
    assert not standing.warnings()
    hold.end()
    standing.thread.join(60)
    assert standing.error is None


def test_garbage_at_its_port_is_no_health() -> None:
    with socket.create_server(("127.0.0.1", 0)) as place:

        def answer() -> None:
            connection, _ = place.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"garbage\r\n\r\n")

        threading.Thread(target=answer, daemon=True).start()
        assert not vllm_process._is_healthy(f"http://127.0.0.1:{place.getsockname()[1]}")


@pytest.mark.integration
def test_one_that_starts_again_ends_with_the_server(standing: Standing) -> None:
    (standing.folder / "slow").touch()
    killed = standing.signal(signal.SIGKILL)
    until(lambda: standing.pid != killed)
    standing.close()
    assert standing.error is None
    assert processes.start_time(standing.pid) is None
