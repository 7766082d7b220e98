"""What clients do to the server of a model in this process, over real connections; the model is a pretended one."""

import gc
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from support.loopback import until
from support.watched_answers import Watched

from virc.reasoning.resize import QWEN2
from virc.reasoning.session import Ask, Reply
from virc.serving import in_process
from virc.serving.agent import connections, request_queue
from virc.serving.chat_request import ChatRequest
from virc.serving.in_process import Served


class Model:
    """Draws replies when it is let."""

    grid, context, at_once = QWEN2, 1000, 1

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.go = threading.Event()
        self.go.set()

    def reply(self, ask: Ask, _sampling: Any, on_text: Callable[[str], None]) -> Reply:
        self.begun.append(ask.messages[-1].text)
        while not self.go.wait(0.01):
            on_text("…")
        if "fail" in ask.messages[-1].text:
            raise RuntimeError
        return Reply("97", prompt_tokens=1, completion_tokens=1)


class Running:
    def __init__(self, port: int, state: Any, model: Model) -> None:
        self.port, self.state, self.model = port, state, model

    def open(self, source: str = "127.0.0.1") -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), 60, (source, 0))

    def start(self, text: str = "?", source: str = "127.0.0.1", size: int | None = None, **headers: str) -> Any:
        """A connection on which a question was sent, up to so many bytes of it."""
        body = json.dumps({"model": "m", "messages": [{"role": "user", "content": text}]}).encode()
        given = {"Host": "localhost", "Content-Length": str(len(body)), **headers}
        head = "".join(f"{name}: {value}\r\n" for name, value in given.items())
        connection = self.open(source)
        connection.sendall(f"POST /v1/chat/completions HTTP/1.1\r\n{head}\r\n".encode() + body[:size])
        return connection

    def status(self, *words: Any, **headers: str) -> int:
        with self.start(*words, **headers) as connection:
            return int(connection.recv(2**16).split()[1])


@contextmanager
def listening(model: Model) -> Iterator[Running]:
    with socket.create_server(("127.0.0.1", 0)) as place:
        app: Any = Watched(in_process.app(Served(model, "m", {}, images=2)), "m")  # type: ignore[arg-type]
        server = connections.server(app)
        thread = threading.Thread(target=server.run, args=([place],))
        thread.start()
        try:
            yield Running(place.getsockname()[1], app.state, model)
        finally:
            model.go.set()
            server.should_exit = True
            thread.join(60)
            assert not thread.is_alive()
            assert app.faults == []


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    with listening(Model()) as found:
        yield found


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example", "Origin": "http://evil.example"}, 403),  # rebound to this address
        ({"Origin": "https://evil.example", "Content-Type": "text/plain"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Host": "127.0.0.1"}, 200),
    ],
)
def test_a_page_of_another_site_does_not_get_through(running: Running, headers: dict[str, str], status: int) -> None:
    assert running.status(**headers) == status


def test_one_who_does_not_end_its_head_is_cut(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "PATIENCE", 0.05)
    with running.open() as slow:
        slow.sendall(b"GET /health HTTP/1.1\r\n")
        with suppress(ConnectionResetError):
            assert slow.recv(1) == b""


def test_bodies_take_a_bounded_memory_together(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_queue, "MAX_HELD", 4000)  # half of it for one client
    with running.start("a" * 1500, size=1400):  # the rest does not come
        until(lambda: running.state.queue.held == 1400)
        assert running.status("a" * 1500) == 429
        assert running.status("a" * 1500, "127.0.0.2") == 200
    until(lambda: not running.state.queue.held)
    assert running.status("a" * 1500) == 200


def test_clients_take_turns_and_one_who_leaves_keeps_nothing() -> None:
    with listening(model := Model()) as running:
        model.go.clear()
        waiting = running.state.queue._turns._waiting
        first = [running.start("first 0")]
        until(lambda: model.begun == ["first 0"])
        for number in range(1, 5):
            first.append(running.start(f"first {number}"))
            until(lambda number=number: len(waiting.get("127.0.0.1", ())) == number)  # type: ignore[misc]
        with running.start("second", "127.0.0.2") as second:
            until(lambda: "127.0.0.2" in waiting)
            first.pop(1).close()
            until(lambda: len(waiting["127.0.0.1"]) == 3 or waiting["127.0.0.1"][0].served.cancelled())
            model.go.set()
            assert second.recv(2**16)
        for connection in first:
            assert connection.recv(2**16)
            connection.close()
        assert len(model.begun) == 5
        assert "second" in model.begun[:3]
        until(lambda: not running.state.queue.taken and not running.state.queue.held)


@pytest.mark.parametrize("ends", ["it fails", "it is answered", "its client leaves"])
def test_what_a_reply_held_is_freed_at_its_end(running: Running, ends: str) -> None:
    model = running.model
    gc.collect()  # what other tests left would stay until all objects are looked through
    gc.disable()
    gc.freeze()  # `get_objects` then names what is made from here on
    try:
        if "leaves" in ends:
            model.go.clear()
            with running.start(ends):
                until(lambda: model.begun[-1:] == [ends])
        else:
            assert running.status(ends) == (500 if "fails" in ends else 200)
        until(lambda: not any(isinstance(each, ChatRequest) for each in gc.get_objects()))
    finally:
        model.go.set()
        gc.enable()
