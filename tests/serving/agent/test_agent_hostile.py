"""What clients, images and engines do to an agent endpoint: each costs it little, and is told in one sentence."""

import base64
import io
import json
import signal
import socket
import struct
import sys
import threading
import time
import urllib.request
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from agent_server import (
    ANSWER,
    LOOK_AT_ALL,
    MODEL,
    PICTURE,
    Held,
    Running,
    chat,
    data_url,
    give_times,
    listening,
    noise,
    png,
    raw,
    received,
    scripted,
)
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse
from PIL import Image
from support import faults, servers
from support.https_site import Site
from support.loopback import until
from support.servers import CHAT

from virc.core.errors import ConfigError, EngineError
from virc.reasoning.session import Ask, Reply
from virc.serving import chat_http
from virc.serving.agent import connections, page, request_queue, wire


def error(said: dict[str, Any]) -> str:
    message: str = said["error"]["message"]
    return message


def test_the_key_is_asked_of_all_but_the_page_and_health(held: Held) -> None:
    held.go.set()
    with listening(held, served={"api_key": "sésame"}) as running:
        assert running.send("GET", "/health")[0] == 200
        for path in ("/v1/models", "/v1/models/m", "/v1/chat/completions", "/v1/responses"):
            method = "GET" if "models" in path else "POST"
            for value in (None, "Bearer wrong", "Bearer ", "Basic sésame", "Bearer sésam", "Bearer sésame2"):
                given = {} if value is None else {"Authorization": value.encode().decode("latin-1")}
                status, said = running.send(method, path, b"{}", **given)
                assert (status, said["error"]["code"]) == (401, "invalid_api_key")
                assert "same" not in error(said)
        key = "Bearer sésame".encode().decode("latin-1")
        status, said = running.send("POST", "/v1/chat/completions", json.dumps(chat()).encode(), Authorization=key)
        assert (status, said["choices"][0]["message"]["content"]) == (200, "97")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "http://127.0.0.1:{port}"}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Origin": "http://localhost:{port}", "Host": "LocalHost:{port}"}, 200),
        ({"Origin": "http://[::1]:{port}", "Host": "[::1]:{port}"}, 200),
        ({"Origin": "http://127.0.0.1:1"}, 403),
        ({"Origin": "http://127.0.0.1"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://evil.example:{port}", "Host": "evil.example:{port}"}, 403),  # rebound to this address
        ({"Host": "192.168.1.1"}, 403),
        ({"Host": "localhost.evil.example"}, 403),
        ({"Host": "[::1"}, 403),
    ],
)  # fmt: skip
def test_a_page_of_another_site_does_not_get_through(
    endpoint: tuple[Running, Held], headers: dict[str, str], status: int
) -> None:
    running, _ = endpoint
    given = {name: value.replace("{port}", str(running.port)) for name, value in headers.items()}
    body = json.dumps(chat()).encode()
    found, _ = running.send("POST", "/v1/chat/completions", body, **given, **{"Content-Type": "text/plain"})
    assert found == status


@pytest.mark.integration
def test_with_a_key_it_may_have_any_name(held: Held) -> None:
    with listening(held, served={"api_key": "sesame"}) as running:
        given = {"Host": "virc.example", "Origin": "https://virc.example", "Authorization": "Bearer sesame"}
        assert running.send("GET", "/v1/models", **given)[0] == 200


def part(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


def picture(content: bytes) -> dict[str, Any]:
    return part(f"data:image/png;base64,{base64.b64encode(content).decode()}")


def bomb() -> bytes:
    """A PNG that claims 30,000 x 30,000 px in a hundred bytes."""

    def part(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + part(b"IHDR", head) + part(b"IDAT", zlib.compress(b"")) + part(b"IEND", b"")


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (picture(b"AAAA"), "image 0 is not a picture that can be read"),
        (picture(b""), "image 0 is empty"),
        (picture(bomb()), "image 0 is over 100 million pixels"),
        (picture(png(280, 140)[:90]), "image 0 is damaged or cut short"),
        (picture(png(4000, 2)), "image 0 has 4000 x 2 px, one side over 200 times the other"),
        (picture(b"<svg xmlns='http://www.w3.org/2000/svg'/>"), "image 0 is an SVG drawing"),
        (part("data:image/png;base64,A*A"), "image 0: the data URL is no base64"),
        (part("data:,x"), "image 0: a data URL must begin like"),
        (part("https://127.0.0.1/x"), "image 0 cannot be fetched: no public"),
        (part("file:///etc/passwd"), "messages[0].content[0].image_url: an"),
    ],
)  # fmt: skip
def test_a_hostile_image_is_told_and_nothing_is_drawn(
    endpoint: tuple[Running, Held], image: dict[str, Any], said: str
) -> None:
    running, held = endpoint
    before = len(held.begun)
    for stream in (False, True):
        status, answer = running.ask("?", image, stream=stream)
        assert status == 400
        assert error(answer).startswith(said)
    assert len(held.begun) == before


@pytest.fixture(scope="module")
def endpoint() -> Iterator[tuple[Running, Held]]:
    held = Held()
    held.go.set()
    with listening(held, served={"inputs": 2}) as running:
        yield running, held


def test_what_is_wrong_with_a_request_is_told_in_the_apis_shape(endpoint: tuple[Running, Held]) -> None:
    running, _ = endpoint
    cases = {
        ("there is no model 'other', served is 'virc-scripted'", 404, "model_not_found"): running.ask(model="other"),
        ("at most 2 images are taken in a conversation, not 3", 400, None): running.ask("?", *[PICTURE] * 3),
        ("the texts have 200001 characters", 400, "context_length_exceeded"): running.ask("a" * 200_001),
        ("the body is not valid JSON", 400, None): running.send("POST", "/v1/chat/completions", b"{"),
        ("not found", 404, None): running.send("GET", "/v1/embeddings"),
        ("not found: the base URL of a client ends with /v1", 404, None): running.send(
            "POST", "/chat/completions", b"{}"
        ),
        ("method not allowed", 405, None): running.send("GET", "/v1/chat/completions"),
        ("the body is over 64 MiB", 413, None): running.send(
            "POST", "/v1/chat/completions", b"x", **{"Content-Length": str(chat_http.MAX_BODY + 1)}
        ),
    }
    assert error(running.send("GET", "/v1/embeddings")[1]) == "not found"
    for (message, status, code), (found, said) in cases.items():
        assert found == status, said
        assert error(said).startswith(message)
        assert (said["error"]["type"], said["error"]["code"]) == ("invalid_request_error", code)
    assert running.ask()[0] == 200
    until(lambda: (running.queue.taken, running.queue.held) == (0, 0))  # an answer is there before its place is free


def test_the_page_is_served_with_its_policy(endpoint: tuple[Running, Held]) -> None:
    running, _ = endpoint
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for path, (kind, content) in page.files(MODEL).items():
        with direct.open(f"http://127.0.0.1:{running.port}{path}", timeout=60) as found:
            assert (found.headers["Content-Type"], found.read()) == (kind, content)
            assert page.HEADERS.items() <= dict(found.headers).items() | {
                (name.title(), value) for name, value in found.headers.items()
            }


def test_all_requests_together_hold_a_bounded_number_of_bytes(
    endpoint: tuple[Running, Held], monkeypatch: pytest.MonkeyPatch
) -> None:
    running, _ = endpoint
    monkeypatch.setattr(request_queue, "MAX_HELD", 80_000)  # half of it for one client
    body = chat("?", part("data:image/png;base64," + "A" * 30_000))
    slow = socket.create_connection(("127.0.0.1", running.port))
    slow.sendall(raw(body)[:30_000])  # the rest does not come
    until(lambda: running.queue.held > 20_000)
    status, said = running.send("POST", "/v1/chat/completions", json.dumps(body).encode())
    assert (status, said["error"]["code"]) == (429, "rate_limit_exceeded")
    slow.close()
    until(lambda: running.queue.held == 0)
    assert running.ask()[0] == 200


def test_a_body_must_arrive_in_time(endpoint: tuple[Running, Held], monkeypatch: pytest.MonkeyPatch) -> None:
    running, _ = endpoint
    monkeypatch.setattr(chat_http, "_BODY_SECONDS", 0.2)
    with socket.create_connection(("127.0.0.1", running.port)) as slow:
        slow.sendall(raw(chat())[:300])
        assert b"the body did not arrive within 0.2 s" in received(slow, b"}")
    until(lambda: running.queue.held == 0)


@pytest.mark.integration
def test_one_who_sends_no_head_or_takes_no_answer_is_cut(
    endpoint: tuple[Running, Held], monkeypatch: pytest.MonkeyPatch
) -> None:
    running, _ = endpoint
    monkeypatch.setattr(connections, "PATIENCE", 0.3)
    for beginning in (b"", b"POST /v1/chat/completions HTTP/1.1\r\nHost:"):
        with socket.create_connection(("127.0.0.1", running.port), 60) as silent:
            silent.sendall(beginning)
            assert silent.recv(1) == b""


def deaf(running: Running, body: dict[str, Any] | None = None, path: str = CHAT, **fields: Any) -> socket.socket:
    """A client that has asked for looks of a megabyte each, and takes next to nothing of its answer."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect(("127.0.0.1", running.port))
    client.sendall(raw(body or chat("?", noise(), **fields), path))
    return client


@pytest.fixture
def large(held: Held) -> Held:
    """Looks at all of a picture, at once."""
    held.look = LOOK_AT_ALL
    held.go.set()
    return held


@contextmanager
def served(app: FastAPI) -> Iterator[tuple[socket.socket, connections.Server]]:
    """A client that has asked this app, by the server of agent endpoints, for its root."""
    app.state.queue = SimpleNamespace(answers=(), closing=False)
    server = connections.server(app)
    with socket.create_server(("127.0.0.1", 0)) as place, socket.socket() as client:
        thread = threading.Thread(target=server.run, args=([place],))
        thread.start()
        try:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect(place.getsockname())
            client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.7\r\n\r\n")
            yield client, server
        finally:
            server.should_exit = server.force_exit = True
            thread.join(60)


def test_one_who_takes_no_answer_loses_its_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "PATIENCE", 0.1)
    app = FastAPI()
    app.get("/")(lambda: StreamingResponse(iter([bytes(2**20)] * 16)))
    with served(app) as (client, server):
        assert client.recv(1) == b"H"
        until(lambda: not server.server_state.connections)


def test_the_address_that_a_client_claims_is_not_taken_for_its_own() -> None:
    app = FastAPI()

    @app.get("/")
    def whose(request: Request) -> str:
        return f"{connections.client_of(request)}!"

    app.state.served = SimpleNamespace(api_key="one")
    with served(app) as (client, _):
        assert b'"127.0.0.1!"' in received(client, b'!"')


def test_clients_with_keys_of_their_own_are_known_by_them() -> None:
    state = SimpleNamespace(served=SimpleNamespace(api_key=("one", "two")))
    asked = {"headers": [(b"authorization", b"Bearer two")], "client": ("10.0.0.1", 1)}
    request = Request({"type": "http", "app": SimpleNamespace(state=state), **asked})
    known = connections.client_of(request)
    state.served.api_key = "two"
    assert known != connections.client_of(request) == "10.0.0.1"


@pytest.mark.skipif(sys.platform == "win32", reason="it has no such limit")
@pytest.mark.parametrize(("files", "places"), [(1024, 512), (600, 300), (4096, 3584), (10_000, 4096), (None, 4096)])
def test_connections_leave_half_of_the_files_or_512_to_others(
    files: int | None, places: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    import resource

    limit = resource.RLIM_INFINITY if files is None else files
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limit, limit))
    assert connections._most_connections() == places


@pytest.mark.integration
@pytest.mark.parametrize("stream", [False, True])
def test_one_who_takes_no_answer_is_cut_and_keeps_no_place_and_no_bytes(
    large: Held, stream: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "PATIENCE", 1)
    with listening(large, waiting=0) as running:
        with deaf(running, n=4, stream=stream):
            until(lambda: len(running.queue.answers) == 1 and not running.queue.taken)
            assert running.queue.held > 2**20  # looks
            assert running.ask()[0] == 200
            until(lambda: not running.running.server_state.connections)
        until(lambda: not running.queue.answers)
        until(lambda: (running.queue.taken, running.queue.held) == (0, 0))


@pytest.mark.integration
def test_one_who_takes_his_time_has_the_deadline_and_no_more(large: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "PATIENCE", 0.5)
    with listening(large, config={"timeout": 6}) as running, deaf(running, n=8, stream=True) as client:
        until(lambda: bool(running.queue.answers))
        taken = 0
        while running.queue.answers:
            taken += len(client.recv(2**14))  # every piece is taken in time
            time.sleep(0.05)
        assert taken < 5 * 2**20  # half of it


@pytest.mark.integration
def test_an_answer_is_bounded_in_bytes(large: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_queue, "MAX_HELD", 4 * 2**20)
    with listening(large) as running:
        with deaf(running, n=8) as client:
            assert b"waits to be taken from it: ask again later" in received(client, b"}}")
        assert len(large.begun) < 16  # the model stopped
        with deaf(running, n=8, stream=True) as client:
            until(lambda: bool(running.queue.taken))
            until(lambda: not running.queue.taken)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**20)
            assert b"waits to be taken from it: ask again later" in received(client)
        until(lambda: not running.queue.answers)
        assert running.queue.held == 0
        assert running.ask()[0] == 200


class Looking(Held):
    """Looks eleven times at all of a picture; only at a temperature, else the third repetition ends it."""

    def reply(self, ask: Ask, *_: Any) -> Reply:
        self.begun.append("")
        return Reply(LOOK_AT_ALL if len(ask.messages) < 24 else ANSWER, prompt_tokens=1, completion_tokens=1)


@pytest.mark.integration
def test_what_a_streamed_response_keeps_is_counted_until_it_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_queue, "MAX_HELD", 8 * 2**20)
    looking = Looking()
    image = {"type": "input_image", "image_url": noise()["image_url"]["url"]}
    content = [image, {"type": "input_text", "text": "?"}]
    body = {"model": MODEL, "stream": True, "temperature": 1, "input": [{"role": "user", "content": content}]}
    with listening(looking) as running:
        with deaf(running, body, "/v1/responses") as client:
            client.settimeout(60)
            assert b"waits to be taken from it: ask again later" in received(client)
        assert 3 < len(looking.begun) < 11
        until(lambda: not running.queue.answers)
        assert running.queue.held == 0


def await_looks(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait until the server has looked three times whether to end."""
    looks, on_tick = list[int](), running.running.on_tick

    async def look(counter: int) -> bool:
        looks.append(counter)
        return await on_tick(counter)

    with monkeypatch.context() as patched:
        patched.setattr(running.running, "on_tick", look)
        until(lambda: len(looks) > 2)


@pytest.mark.integration
def test_a_finished_answer_is_delivered_before_the_server_ends(large: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    with listening(large) as running, deaf(running, n=8) as client:
        client.settimeout(60)
        until(lambda: len(running.queue.answers) == 1 and not running.queue.taken)
        running.running.handle_exit(signal.SIGTERM, None)
        await_looks(running, monkeypatch)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**20)
        head, _, content = received(client, b"}}").partition(b"\r\n\r\n")
        assert f"content-length: {len(content)}\r\n".encode() in head
        assert len(json.loads(content)["choices"]) == 8
        until(lambda: running.running.should_exit)
        assert not running.running.force_exit


@pytest.mark.integration
def test_a_server_that_runs_nothing_ends_at_once_and_a_second_signal_ends_what_runs(
    held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    with listening(held) as running:
        running.running.handle_exit(signal.SIGTERM, None)
        until(lambda: running.running.should_exit)
    with listening(held) as running, running.start():
        until(lambda: bool(held.begun))
        running.running.handle_exit(signal.SIGTERM, None)
        await_looks(running, monkeypatch)
        assert not running.running.should_exit
        running.running.handle_exit(signal.SIGTERM, None)
        assert running.running.force_exit


def test_more_than_can_wait_are_turned_away(held: Held) -> None:
    with listening(held, waiting=1) as running:
        first = running.start(text="first")
        until(lambda: held.begun == ["first"])
        second = running.start(text="second", stream=True)
        until(lambda: running.queue.taken == 2)
        refused = running.start(text="third")
        said = received(refused, b"}}")
        assert said.startswith(b"HTTP/1.1 429")
        assert b"retry-after: 10\r\n" in said
        assert b"too many requests are waiting" in said
        held.go.set()
        assert b'"content":"97"' in received(first, b"}}")
        assert received(second).endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
        until(lambda: running.queue.taken == 0)
        assert held.begun == ["first", "first", "second", "second"]


@pytest.mark.parametrize("stream", [False, True])
def test_who_hangs_up_is_not_computed(held: Held, stream: bool) -> None:
    with listening(held) as running:
        first = running.start(text="first", stream=stream)
        until(lambda: held.begun == ["first"])
        second, third = (running.start(text=name, stream=stream) for name in ("second", "third"))
        until(lambda: running.queue.taken == 3)
        second.close()  # before its turn
        first.close()  # in its turn
        until(lambda: held.begun == ["first", "third"])
        assert held.ended == ["first"]
        held.go.set()
        assert b"97" in received(third, b"0\r\n\r\n" if stream else b"}}")
        until(lambda: running.queue.taken == 0)
        assert "second" not in held.begun


@pytest.mark.integration
def test_the_server_behind_is_left_when_a_client_hangs_up() -> None:
    with scripted(upstream={"fault": faults.stall}) as running:
        client = running.start(stream=True)
        assert running.behind.wait_for(1)
        client.close()
        until(lambda: running.queue.taken == 0)
        assert len(running.behind.chats()) == 1


@pytest.mark.integration
def test_a_problem_has_an_end_in_time_wherever_it_is(held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    give_times(monkeypatch, 8, 0.4, 0.4, 60)
    with listening(held, waiting=1) as running:
        first = running.start(text="first", stream=True)
        until(lambda: held.begun == ["first"])
        status, said = running.ask("second")  # it only waits
        assert (status, error(said)) == (504, "no answer within 0.4 s")
        assert b"no answer within 8 s" in received(first)
        assert running.ask("third")[0] == 504
        held.go.set()
        assert running.ask("fourth")[0] == 200


def test_a_silent_stream_is_pinged_also_while_it_waits_for_its_turn(
    held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_queue, "_PING", 0.1)
    with listening(held) as running:
        clients = [running.start(text=text, stream=True) for text in ("first", "second")]
        pinged = [received(client, b": ping\n\n\r\n") for client in clients]
        until(lambda: bool(held.begun))  # a ping may come before the thread of the first begins
        assert len(held.begun) == 1
        held.go.set()
        for begun, client in zip(pinged, clients, strict=True):
            assert (begun + received(client)).count(b'"role": "assistant"') == 1


@pytest.mark.parametrize(
    ("failure", "status", "said"),
    [
        (RuntimeError("key sesame at /root/weights"), 500, "internal: RuntimeError"),
        (EngineError("the key sesame at 10.0.0.1"), 502, "the model did not answer"),
        (ConfigError("http://10.0.0.1 refuses the request (400): maximum context length"), 400, "the conversation is"),
    ],
)  # fmt: skip
def test_a_failure_of_the_model_is_told_without_its_secrets(
    held: Held, failure: Exception, status: int, said: str
) -> None:
    told: list[Exception] = []
    held.error = failure
    held.go.set()
    with listening(held, served={"trouble": told.append}) as running:
        found, answer = running.ask()
        assert (found, error(answer)[: len(said)]) == (status, said)
        streamed = received(running.start(stream=True))
        assert said.encode() in streamed
        assert b"[DONE]" not in streamed
        for text in (json.dumps(answer), streamed.decode()):
            assert not any(secret in text for secret in ("sesame", "/root", "10.0.0.1", "Traceback"))
        held.error = None
        assert running.ask()[0] == 200
    assert told == ([] if status == 400 else [failure, failure])


class Panic(BaseException):
    """As a library in another language raises it."""


@pytest.mark.integration
def test_a_panic_costs_its_request_alone(held: Held) -> None:
    held.error = Panic("at sesame")  # type: ignore[assignment]
    held.go.set()
    with listening(held) as running:
        for _ in range(2):
            status, said = running.ask()
            assert (status, error(said)) == (500, "internal: RuntimeError")
        held.error = None
        assert running.ask()[0] == 200


@pytest.mark.integration
def test_what_times_out_behind_it_before_its_time_is_no_deadline(held: Held) -> None:
    held.error = TimeoutError("of a socket")
    held.go.set()
    with listening(held) as running:
        status, said = running.ask()
    assert (status, error(said)) == (500, "internal: TimeoutError")


@pytest.mark.integration
def test_a_conversation_that_grows_too_long_ends_there_and_keeps_what_was_thought(held: Held) -> None:
    held.go.set()
    held.error = ConfigError("http://10.0.0.1 refuses the request (400): maximum context length is 8192")
    held.after = 1
    with listening(held) as running:
        status, said = running.ask()
    (choice,) = said["choices"]
    assert (status, choice["finish_reason"]) == (200, "length")
    assert choice["message"]["refusal"] == "the conversation is longer than the model's context length"
    assert (choice["message"]["content"], choice["message"]["reasoning_content"]) == ("", "I look.")
    assert len(choice["message"]["virc_tool_calls"]) == 1


def test_an_engine_that_is_down_is_told_without_its_address() -> None:
    told: list[Exception] = []
    with scripted(served={"trouble": told.append}) as running:
        running.behind.die()
        status, said = running.ask()
        assert (status, error(said)) == (503, "the model cannot be reached: ask again later")
        assert "cannot be reached" in str(told[0])


def test_an_engine_that_is_too_busy_is_one_to_ask_later() -> None:
    with scripted(served={"trouble": lambda error: None}) as running:
        running.behind.script.fault = faults.status(429, "slow down", {"Retry-After": "200"})
        status, said = running.ask()
        assert (status, error(said)) == (503, "the model is too busy: ask again later")


def test_what_runs_is_answered_before_it_ends_and_the_new_are_turned_away(held: Held) -> None:
    with listening(held) as running:
        first = running.start(text="first")
        until(lambda: held.begun == ["first"])
        running.queue.closing = True
        for method, path in (("POST", "/v1/chat/completions"), ("GET", "/health")):
            assert running.send(method, path, b"{}")[0] == 503
        held.go.set()
        assert b'"content":"97"' in received(first, b"}}")


@pytest.mark.integration
@pytest.mark.parametrize("site", ["whole", "redirected"])
def test_an_image_at_an_address_is_fetched_here_and_not_by_the_engine(site: str) -> None:
    content = png(112, 56)

    def answer(_: Site, path: str, connection: socket.socket) -> None:
        if path == "/whole":
            head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(content)}\r\n\r\n"
            connection.sendall(head.encode() + content)
        else:
            connection.sendall(b"HTTP/1.1 302 Found\r\nLocation: /whole\r\nContent-Length: 0\r\n\r\n")

    there = Site(answer)
    try:
        with scripted(rules=there.rules()) as running:
            assert running.ask("?", part(there.url(f"/{site}")))[0] == 200
            (shown,) = servers.images_of(running.behind.chats()[0])
            assert servers.image_bytes(shown)
            assert there.url() not in json.dumps(running.behind.chats())
    finally:
        there.close()


@pytest.mark.integration
def test_a_large_look_is_sent_smaller_and_its_size_is_that_of_what_was_shown() -> None:
    shown = Image.new("RGB", (3000, 1500))
    sent = wire.jpeg_url(shown).partition(",")[2]
    assert Image.open(io.BytesIO(base64.b64decode(sent))).size == (1568, 784)
    assert shown.size == (3000, 1500)


@pytest.mark.integration
def test_data_urls_are_shown_at_their_size() -> None:
    with scripted() as running:
        assert running.ask("?", part(data_url((112, 84))))[0] == 200
        (shown,) = servers.images_of(running.behind.chats()[0])
        assert Image.open(io.BytesIO(servers.image_bytes(shown))).size == (112, 84)
