"""Clients of an agent endpoint are served in turn, however many requests one of them has."""

import resource
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
from agent_server import ANSWER, Held, Running, chat, give_times, listening, noise, png, raw, received
from fastapi import FastAPI
from support.https_site import Site
from support.loopback import until

from virc.serving.agent import connections, request_queue

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="elsewhere this machine has one address on the loopback"
)
OTHER = "127.0.0.2"
LARGE = noise(240)  # 50 kB


@pytest.fixture
def waiting(held: Held) -> Held:
    """Answers in one turn."""
    held.look = ANSWER
    return held


def ask(running: Running, count: int, name: str, source: str = "127.0.0.1", **fields: Any) -> list[socket.socket]:
    """So many questions, one after the other."""
    clients = []
    for number in range(count):
        taken = running.queue.taken + 1
        clients.append(running.start(source, text=f"{name}{number}", **fields))
        until(lambda taken=taken: running.queue.taken == taken)
    return clients


@pytest.mark.integration
def test_another_client_waits_for_two_problems_at_most_and_each_keeps_its_order(waiting: Held) -> None:
    with listening(waiting) as running:
        mine = ask(running, 200, "a")
        others = [*ask(running, 2, "b", OTHER), *ask(running, 1, "c", "127.0.0.3")]
        waiting.go.set()
        for client in (*others, *mine):
            assert b'"content":"97"' in received(client, b"}}")
    assert waiting.begun[:8] == ["a0", "a1", "b0", "c0", "a2", "b1", "a3", "a4"]
    assert [name for name in waiting.begun if name[0] == "a"] == [f"a{number}" for number in range(200)]


@pytest.mark.integration
def test_bodies_that_nobody_needs_yet_stay_with_their_clients(waiting: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_queue, "MAX_READ", 400_000)
    with listening(waiting) as running:
        mine = [running.start(text=f"a{number}", picture=LARGE) for number in range(40)]
        until(lambda: running.queue.taken == 40)
        others = ask(running, 1, "b", OTHER, picture=LARGE)
        until(lambda: running.queue.taken == 41 and running.queue.held > 200_000)
        assert running.queue.held < 300_000  # of two megabytes
        waiting.go.set()
        for client in (*others, *mine):
            assert b'"content":"97"' in received(client, b"}}")
        until(lambda: (running.queue.held, running.queue.taken) == (0, 0))
    assert waiting.begun.index("b0") <= 2


@pytest.mark.integration
def test_whoever_hangs_up_before_it_was_read_costs_no_turn(waiting: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_queue, "MAX_READ", 1)
    with listening(waiting) as running:
        clients = ask(running, 4, "a", picture=LARGE)
        for client in clients[1:3]:
            client.close()
        until(lambda: running.queue.taken == 2)
        waiting.go.set()
        assert b'"content":"97"' in received(clients[3], b"}}")
        until(lambda: running.queue.taken == 0)
    assert waiting.begun == ["a0", "a3"]


@pytest.mark.integration
def test_one_that_waits_to_be_read_has_an_end_in_time(waiting: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_queue, "MAX_READ", 1)
    give_times(monkeypatch, 60, 0.5)
    with listening(waiting) as running:
        ask(running, 1, "a", picture=LARGE)
        second = running.start(text="a1", picture=LARGE)
        said = received(second, b"}}")
    assert said.startswith(b"HTTP/1.1 504")
    assert b"no answer within 0.5 s" in said


@pytest.mark.integration
def test_one_client_does_not_fill_all_places(waiting: Held) -> None:
    with listening(waiting, waiting=20) as running:
        mine = ask(running, 11, "a")
        refused = received(running.start(text="a11"), b"}}")
        assert refused.startswith(b"HTTP/1.1 429")
        assert b"retry-after: 10\r\n" in refused
        others = ask(running, 6, "b", OTHER)
        assert received(running.start(OTHER, text="b6"), b"}}").startswith(b"HTTP/1.1 429")
        waiting.go.set()
        for client in (*mine, *others):
            assert b'"content":"97"' in received(client, b"}}")


def test_an_address_does_not_have_all_connections(waiting: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "CONNECTIONS", 20)
    with listening(waiting) as running:
        clients = [socket.create_connection(("127.0.0.1", running.port), 60) for _ in range(12)]
        assert received(clients[11], b"\r\n\r\n").startswith(b"HTTP/1.1 503")
        waiting.go.set()
        assert b'"content":"97"' in received(running.start(OTHER), b"}}")
        assert received(running.start(), b"\r\n\r\n").startswith(b"HTTP/1.1 503")
        clients[0].close()
        until(lambda: len(running.running.server_state.connections) < 12)
        assert b'"content":"97"' in received(running.start(), b"}}")


def test_no_more_connections_are_taken_than_files_may_be_opened(waiting: Held) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with listening(waiting) as running:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (400, hard))
            clients = [socket.create_connection(("127.0.0.1", running.port), 60) for _ in range(102)]
            assert received(clients[101], b"\r\n\r\n").startswith(b"HTTP/1.1 503")  # over half of 200
            waiting.go.set()
            assert b'"content":"97"' in received(running.start(OTHER), b"}}")
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.integration
def test_one_client_does_not_hold_all_bytes(waiting: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    with listening(waiting) as running:
        mine = ask(running, 1, "a", picture=LARGE)
        until(lambda: bool(waiting.begun))  # what it sent is read and shown
        mine += ask(running, 2, "a", picture=LARGE)
        until(lambda: len(running.queue.answers) == 3)  # both are read
        monkeypatch.setattr(request_queue, "MAX_HELD", int(running.queue.held * 2.2))  # half of it is little more
        assert received(running.start(text="a3", picture=LARGE), b"}}").startswith(b"HTTP/1.1 429")
        others = ask(running, 1, "b", OTHER, picture=LARGE)
        waiting.go.set()
        for client in (*others, *mine):
            assert b'"content":"97"' in received(client, b"}}")
        until(lambda: not running.queue.held)
        assert not running.queue.held_of


@pytest.mark.integration
def test_images_are_fetched_in_their_turn(waiting: Held) -> None:
    begun = list[int]()

    def answer(_: Site, __: str, connection: socket.socket) -> None:
        begun.append(len(waiting.begun))
        content = png(280, 140)
        connection.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {len(content)}\r\n\r\n".encode() + content)

    site = Site(answer)
    picture = {"type": "image_url", "image_url": {"url": site.url()}}
    with listening(waiting, rules=site.rules()) as running:
        mine = ask(running, 3, "a", picture=picture)
        until(lambda: bool(waiting.begun))
        waiting.go.set()
        for client in mine:
            assert b'"content":"97"' in received(client, b"}}")
    assert begun == [0, 1, 2]  # each when the problem before it has begun
    site.close()


@pytest.mark.integration
def test_an_image_that_cannot_be_had_frees_its_turn(waiting: Held) -> None:
    waiting.go.set()
    with listening(waiting) as running:
        nowhere = {"type": "image_url", "image_url": {"url": "https://127.0.0.1/x"}}
        assert running.ask("?", nowhere)[0] == 400
        assert running.ask("?")[0] == 200


@pytest.mark.integration
def test_clients_behind_a_proxy_take_turns_by_their_keys(waiting: Held) -> None:
    def start(key: str, name: str) -> socket.socket:
        head, _, body = raw(chat(name)).partition(b"\r\n\r\n")
        client = socket.create_connection(("127.0.0.1", running.port), 60)
        client.sendall(head + f"\r\nAuthorization: Bearer {key}\r\n\r\n".encode() + body)
        return client

    with listening(waiting, served={"api_key": ("one", "two")}) as running:
        mine = []
        for number, key in enumerate(["one"] * 5 + ["two"] * 2):
            mine.append(start(key, f"{key}{number}"))
            until(lambda number=number: running.queue.taken == number + 1)
        assert received(start("onetwo", "?"), b"}}").startswith(b"HTTP/1.1 401")
        waiting.go.set()
        for client in mine:
            received(client, b"}}")
    assert waiting.begun == ["one0", "one1", "two5", "one2", "two6", "one3", "one4"]


def test_each_event_loop_reads_into_memory_of_its_own() -> None:
    """What one receives is not there for the other to overwrite: the system copies it while other threads run."""
    connection = connections.SlowClientGuard.__new__(connections.SlowClientGuard)
    connection.cycle = None  # type: ignore[assignment]
    connection.get_buffer(-1)[0] = 1
    with ThreadPoolExecutor(1) as other:
        other.submit(lambda: connection.get_buffer(-1).__setitem__(0, 2)).result()
    assert connection.get_buffer(-1)[0] == 1
    sizes = []
    for cycle in (None, SimpleNamespace(more_body=False), SimpleNamespace(more_body=True)):
        connection.cycle = cycle  # type: ignore[assignment]
        sizes.append(len(connection.get_buffer(-1)))
    assert sizes == [1024, 1024, 65536]  # a head is short, a body is read in large pieces


NO_LIMIT = resource.RLIM_INFINITY


@pytest.mark.parametrize(
    ("soft", "hard", "wanted"),
    [
        (256, 1024, 1024), (256, 2**20, 4608), (256, NO_LIMIT, 4608), (4607, 4608, 4608), (4608, 2**20, None),
        (NO_LIMIT, NO_LIMIT, None),
    ],
)  # fmt: skip
def test_it_may_open_as_many_files_as_it_takes_connections(
    soft: int, hard: int, wanted: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = list[Any]()
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda *limits: given.append(limits))
    app = FastAPI()
    app.state.queue = request_queue.RequestQueue(1)
    connections.server(app)
    assert given == ([] if wanted is None else [(resource.RLIMIT_NOFILE, (wanted, hard))])


@pytest.mark.integration
def test_an_address_that_a_client_claims_is_not_believed(waiting: Held) -> None:
    with listening(waiting) as running:
        mine = []
        for number in range(6):
            head, _, body = raw(chat(f"a{number}")).partition(b"\r\n\r\n")
            mine.append(socket.create_connection(("127.0.0.1", running.port), 60))
            mine[-1].sendall(head + f"\r\nX-Forwarded-For: 192.0.2.{number}\r\n\r\n".encode() + body)
            until(lambda number=number: running.queue.taken == number + 1)
        other = ask(running, 1, "b", OTHER)
        waiting.go.set()
        for client in (*mine, *other):
            received(client, b"}}")
    assert waiting.begun.index("b0") == 2
