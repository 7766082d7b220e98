"""Files of remote tools that are refused, and replies of MCP servers that are too large."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from virc.core.errors import ConfigError
from virc.remote import described, mcp_client, reply

HEAD = "description: d\nparameters: {type: object, properties: {words: {type: string}, keys: {type: array}}}\n"


@pytest.mark.parametrize(
    ("server", "fault"),
    [
        ("http: {url: 'http://h/x', headers: {Cookie: a=b}}", "Cookie has its value in the file"),
        ("http: {url: 'http://h/x', headers: {X-Api-Key: abc}}", "X-Api-Key has its value in the file"),
        ("http: {url: 'http://h/x', headers: {Authorization: Bearer abc}}", "Authorization has its value in the file"),
        ("mcp: {tool: t, command: [c], env: {DETECT_TOKEN: abc}}", "DETECT_TOKEN has its value in the file"),
        ("http: {url: 'http://user@h/x'}", "the address holds a user and password"),
        ("http: {url: 'http://:pass@h/x'}", "the address holds a user and password"),
        ("http: {url: 'http://h/x', headers: {X-Key: a$b}}", "X-Key has its value in the file"),
        ("http: {url: 'http://h/x', body: {a: '{words} {wrods}'}}", "the body names {wrods}"),
        (
            "http: {url: 'http://h/x', body: {a: ['{wrods}']}}",
            "the body names {wrods}, which a call of this tool does not have; there are: keys, words",
        ),
        ("http: {url: 'http://h:99999/x'}", "'http://h:99999/x' is no address"),
        ("http: {url: 'http:///x'}", "'http:///x' is no address"),
        ("http: {url: 'http://h/a b'}", "'http://h/a b' is no address"),
        ("mcp: {tool: t, url: 'ftp://h'}", "'ftp://h' is no address"),
        ("mcp: {tool: t, url: 'http://h', headers: {Cookie: a=b}}", "Cookie has its value in the file"),
        ('http: {url: "http://h/x", headers: {A: "x\\ny"}}', "the header 'A' holds characters that no header has"),
        ("http: {url: 'http://h/x', headers: {A b: x}}", "the header 'A b' holds characters that no header has"),
        ("http: {url: 'http://h/x', headers: {é: x}}", "the header 'é' holds characters that no header has"),
        ("mcp: {tool: t, command: [c], url: 'http://h'}", "mcp needs command or url, one of the two"),
        ("mcp: {tool: t}", "mcp needs command or url, one of the two"),
        ("http: {url: 'http://h/x'}\nname: a b", "'a b' is no name of a function"),
        ("seconds: 3\nhttp:\n  url: http://h/x\n  seconds: 3", "spot.yaml:6: unknown key 'http.seconds'"),
        ("http: {url: 'http://h/x', body: {a: {b: '{wrods}'}}}", "the body names {wrods}"),
        ("mcp: {tool: t, command: [c], arguments: {a: [['{wrods}']]}}", "the body names {wrods}"),
        ("http: {url: 'http://h/x', body: {a: '{crop}'}}", "the body names {crop}"),
        (
            "http: {url: 'http://h/x', headers: {Cookie: '${SPOT}', Accept: a}, body: {a: ['{words}']}}\nat_once: '2'",
            None,
        ),
    ],
)
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
