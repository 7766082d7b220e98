"""What vLLM's process adds to its answers, in front of an app of ours that answers like it."""

import asyncio
import json
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import pytest

from virc.engines.vllm.gate import Published

MODELS = {"object": "list", "data": [{"id": "one", "object": "model"}, {"id": "two", "object": "model"}]}


async def nothing() -> dict[str, Any]:
    return {"type": "http.disconnect"}


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


@pytest.fixture(autouse=True)
def protocol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "virc_protocol.json"
    told = {"virc_protocol": {"system": "Look closer. ∠"}, "virc_grid": {"factor": 28}, "virc_image_ids": True}
    file.write_text(json.dumps(told))
    monkeypatch.setenv("VIRC_PUBLISHED", str(file))


@pytest.mark.parametrize("pieces", [1, 3])
def test_every_model_of_the_list_has_the_chat_protocol(pieces: int) -> None:
    start, body = answered("/v1/models", pieces=pieces)
    assert [model["virc_protocol"] for model in json.loads(body)["data"]] == [{"system": "Look closer. ∠"}] * 2
    assert [model["virc_grid"]["factor"] for model in json.loads(body)["data"]] == [28, 28]
    assert [model["virc_image_ids"] for model in json.loads(body)["data"]] == [True, True]
    assert [model["id"] for model in json.loads(body)["data"]] == ["one", "two"]
    lengths = [value for name, value in start["headers"] if name.lower() == b"content-length"]
    assert lengths == [str(len(body)).encode()]


def test_other_answers_and_errors_pass_unchanged() -> None:
    for path, status in (("/v1/chat/completions", 200), ("/v1/models", 401)):
        start, body = answered(path, status)
        assert json.loads(body) == MODELS
        assert start["status"] == status
