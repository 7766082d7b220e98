"""What vLLM's process does not let through, in front of an app of ours that answers everything."""

import asyncio
import json
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import pytest

from virc.engines.vllm.gate import OPEN, Gate, Published


async def nothing() -> dict[str, Any]:
    return {"type": "http.disconnect"}


def sent(scope: dict[str, Any], **headers: str) -> list[dict[str, Any]]:
    """What a client gets that connects to a loopback address; the app behind answers 200 to all."""
    named = {"host": "localhost:8000", **headers}
    scope["headers"] = [(name.replace("_", "-").encode(), value.encode()) for name, value in named.items()]
    scope["server"] = ("127.0.0.1", 8000)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    messages: list[dict[str, Any]] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        messages.append(dict(message))

    asyncio.run(Gate(app)(scope, nothing, send))
    return messages


CLOSED = [
    ("POST", "/invocations"), ("POST", "/scale_elastic_ep"), ("POST", "/inference/v1/abort_requests"),
    ("POST", "/v1/load_lora_adapter"), ("POST", "/v1/chat/completions/"), ("POST", "/v1/chat/completions/render"),
    ("POST", "//v1/chat/completions"), ("POST", "/health"), ("GET", "/docs"), ("OPTIONS", "/v1/models"),
]  # fmt: skip


def test_what_a_chat_endpoint_needs_is_open_and_every_other_route_closed() -> None:
    for method, path in OPEN:
        assert sent({"type": "http", "method": method, "path": path})[0]["status"] == 200
    for method, path in CLOSED:
        start, body = sent({"type": "http", "method": method, "path": path})
        assert start["status"] == 404
        assert path.encode() in body["body"]


@pytest.mark.parametrize(
    ("headers", "key", "status"),
    [
        ({"origin": "https://evil.example"}, "secret", 403),
        ({"sec_fetch_site": "cross-site"}, "secret", 403),
        ({"host": "evil.example:8000"}, "", 403),
        ({"host": "evil.example:8000"}, "secret", 200),
        ({"origin": "http://localhost:8000"}, "", 200),
    ],
)
def test_pages_of_other_sites_are_refused(
    headers: dict[str, str], key: str, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLLM_API_KEY", key)
    messages = sent({"type": "http", "method": "POST", "path": "/v1/chat/completions"}, **headers)
    assert messages[0]["status"] == status


# ---- what the list of models says

MODELS = {"object": "list", "data": [{"id": "one", "object": "model"}, {"id": "two", "object": "model"}]}


def answered(path: str, status: int = 200, pieces: int = 1) -> tuple[dict[str, Any], bytes]:
    """The start and the body that the middleware lets through for a path."""
    body = json.dumps(MODELS).encode()
    size = -(-len(body) // pieces)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        for start in range(0, len(body), size):
            more = start + size < len(body)
            await send({"type": "http.response.body", "body": body[start : start + size], "more_body": more})

    sent: list[MutableMapping[str, Any]] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    asyncio.run(Published(app)({"type": "http", "path": path, "method": "GET"}, nothing, send))
    return dict(sent[0]), b"".join(message.get("body", b"") for message in sent[1:])


@pytest.fixture
def protocol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "virc_protocol.json"
    told = {"virc_protocol": {"system": "Look closer. ∠"}, "virc_grid": {"factor": 28}, "virc_image_ids": True}
    file.write_text(json.dumps(told))
    monkeypatch.setenv("VIRC_PUBLISHED", str(file))


@pytest.mark.usefixtures("protocol")
@pytest.mark.parametrize("pieces", [1, 3])
def test_every_model_of_the_list_has_the_chat_protocol(pieces: int) -> None:
    start, body = answered("/v1/models", pieces=pieces)
    assert [model["virc_protocol"] for model in json.loads(body)["data"]] == [{"system": "Look closer. ∠"}] * 2
    assert [model["virc_grid"]["factor"] for model in json.loads(body)["data"]] == [28, 28]
    assert [model["virc_image_ids"] for model in json.loads(body)["data"]] == [True, True]
    assert [model["id"] for model in json.loads(body)["data"]] == ["one", "two"]
    lengths = [value for name, value in start["headers"] if name.lower() == b"content-length"]
    assert lengths == [str(len(body)).encode()]
