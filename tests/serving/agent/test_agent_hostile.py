"""What clients, images and engines do to an agent endpoint: each costs it little, and is told in one sentence."""

import base64
import json
import socket
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from agent_server import MODEL, Held, Running, chat, listening, png, raw, received, scripted
from support import faults, servers
from support.https_site import Site
from support.loopback import until
from support.tables import each_case

from virc.core.errors import ConfigError, EngineError
from virc.serving.agent import page, request_queue, server


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


def test_the_page_is_served_with_its_policy(endpoint: tuple[Running, Held]) -> None:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for path in page.files(MODEL):
        with direct.open(f"http://127.0.0.1:{endpoint[0].port}{path}", timeout=60) as found:
            assert {name: found.headers[name] for name in page.HEADERS} == page.HEADERS


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "http://127.0.0.1:{port}"}, 200),
        ({"Origin": "http://localhost:{port}", "Host": "LocalHost:{port}"}, 200),
        ({"Origin": "http://127.0.0.1:1"}, 403), ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://evil.example:{port}", "Host": "evil.example:{port}"}, 403),
        ({"Host": "localhost.evil.example"}, 403),
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


def part(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


def picture(content: bytes) -> dict[str, Any]:
    return part(f"data:image/png;base64,{base64.b64encode(content).decode()}")


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (picture(b"AAAA"), "image 0 is not a picture that can be read"),
        (picture(png(280, 140)[:90]), "image 0 is damaged or cut short"),
        (picture(png(4000, 2)), "image 0 has 4000 x 2 px, one side over 200 times the other"),
        (picture(b"<svg xmlns='http://www.w3.org/2000/svg'/>"), "image 0 is an SVG drawing"),
        (part("data:image/png;base64,A*A"), "image 0: the data URL is no base64"),
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


def test_all_requests_together_hold_a_bounded_number_of_bytes(
    endpoint: tuple[Running, Held], monkeypatch: pytest.MonkeyPatch
) -> None:
    running, _ = endpoint
    monkeypatch.setattr(request_queue, "MAX_HELD", 40_000)
    body = chat("?", part("data:image/png;base64," + "A" * 30_000))
    slow = socket.create_connection(("127.0.0.1", running.port))
    slow.sendall(raw(body)[:30_000])  # the rest does not come
    until(lambda: running.queue.held > 20_000)
    status, said = running.send("POST", "/v1/chat/completions", json.dumps(body).encode())
    assert (status, said["error"]["code"]) == (429, "rate_limit_exceeded")
    slow.close()
    until(lambda: running.queue.held == 0)
    assert running.ask()[0] == 200


@pytest.mark.parametrize("stream", [False, True])
def test_who_hangs_up_is_not_computed(held: Held, stream: bool) -> None:
    with listening(held) as running:
        first = running.start(text="first", stream=stream)
        until(lambda: held.begun == ["first"])
        second, third = (running.start(text=name, stream=stream) for name in ("second", "third"))
        until(lambda: len(running.queue.answers) == 3)
        second.close()  # before its turn
        until(lambda: len(running.queue.answers) == 2)
        first.close()  # in its turn
        until(lambda: held.begun == ["first", "third"])
        assert held.ended == ["first"]
        held.go.set()
        assert b"97" in received(third, b"0\r\n\r\n" if stream else b"}}")
        until(lambda: not running.queue.answers)
        assert "second" not in held.begun


@each_case(("stream", "version"), [(False, b"1.1"), (True, b"1.1"), (False, b"1.0")])
def test_a_client_that_closes_its_sending_side_is_answered(stream: bool, version: bytes) -> None:
    held = Held()
    with listening(held) as running, socket.create_connection(("127.0.0.1", running.port), 60) as half_closed:
        first = running.start(text="first")
        until(lambda: held.begun == ["first"])
        half_closed.sendall(raw(chat("second", stream=stream)).replace(b"HTTP/1.1", b"HTTP/" + version, 1))
        half_closed.shutdown(socket.SHUT_WR)
        until(lambda: len(running.queue.answers) == 2)
        held.go.set()
        answer = b"".join(iter(lambda: half_closed.recv(2**16), b""))
        assert answer.count(b"HTTP/1.1 200 OK\r\n") == 1, answer
        assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\n") == (version == b"1.1")
        assert b"97" in answer
        first.close()


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


def test_an_engine_that_is_down_is_told_without_its_address() -> None:
    told: list[Exception] = []
    with scripted(served={"trouble": told.append}) as running:
        running.behind.die()
        status, said = running.ask()
        assert (status, error(said)) == (503, "the model cannot be reached: ask again later")
        assert "cannot be reached" in str(told[0])


@pytest.mark.integration
def test_an_image_at_an_address_is_fetched_here_and_not_by_the_engine() -> None:
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
            assert running.ask("?", part(there.url("/redirected")))[0] == 200
            (shown,) = servers.images_of(running.behind.chats()[0])
            assert servers.image_bytes(shown)
            assert there.url() not in json.dumps(running.behind.chats())
    finally:
        there.close()


def test_health_follows_an_engine_that_fails_and_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_FRESH", 0.1)
    with scripted() as running:

        def is_healthy() -> bool:
            return running.send("GET", "/health")[0] == 200

        assert is_healthy()
        running.behind.script.fault, running.behind.script.fault_on = faults.status(503), servers.MODELS
        until(lambda: not is_healthy())
        assert error(running.send("GET", "/health")[1]) == "the model does not answer"
        running.behind.script.fault = faults.status(404)  # alive, without a list of models
        until(is_healthy)
        running.behind.die()
        until(lambda: not is_healthy())
