"""Files of remote tools that are refused, and replies of MCP servers that are too large."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.tables import cases_of

from virc.core.errors import ConfigError
from virc.remote import described, mcp_client, reply

CASES = cases_of(__file__)

HEAD = "description: d\nparameters: {type: object, properties: {words: {type: string}, keys: {type: array}}}\n"


@pytest.mark.parametrize(("server", "fault"), CASES["what_a_file_must_not_hold"])
def test_what_a_file_must_not_hold(server: str, fault: str | None) -> None:
    if fault is None:
        assert described.parse(HEAD + server, Path("spot.yaml")).http
    else:
        with pytest.raises(ConfigError) as caught:
            described.parse(HEAD + server, Path("spot.yaml"))
        assert fault in caught.value.message


class Streamed:
    """A body as it comes."""

    def __init__(self, pieces: int, size: int) -> None:
        self.pieces, self.size, self.closed = pieces, size, False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for _ in range(self.pieces):
            yield b"x" * self.size

    async def aclose(self) -> None:
        self.closed = True


@pytest.mark.parametrize(
    ("headers", "pieces", "says"),
    [
        ({}, 10, None),
        ({"content-type": "application/json"}, 10, None),
        ({"content-type": "application/json"}, 11, "its reply is over"),
        ({"content-type": "text/event-stream; charset=utf-8"}, 99, None),  # each of its events has a bound of its own
        ({"content-encoding": "identity"}, 10, None),
        ({"content-encoding": "gzip"}, 1, "its reply is compressed"),
    ],
)
def test_a_reply_of_an_mcp_server_is_bounded(
    headers: dict[str, str], pieces: int, says: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reply, "MAX_BYTES", 100)
    client = mcp_client._http_client({"X-Key": "secret"})
    assert (client.headers["x-key"], client.headers["accept-encoding"]) == ("secret", "identity")
    body = Streamed(pieces, 10)
    response: Any = SimpleNamespace(headers=headers, stream=body)

    async def read() -> int:
        await client.event_hooks["response"][0](response)
        count = 0
        async for piece in response.stream:
            count += len(piece)
        await response.stream.aclose()
        return count

    if says is None:
        assert asyncio.run(read()) == 10 * pieces
        assert body.closed
    else:
        with pytest.raises(Exception, match=says):
            asyncio.run(read())
