"""What `virc mcp` refuses before it serves, and what over HTTP."""

import asyncio
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any

import pytest
from starlette.exceptions import HTTPException

from virc.core.errors import UsageError
from virc.core.events import Reporter
from virc_extras.mcp import start
from virc_extras.mcp.over_http import _Guard
from virc_extras.mcp.result_store import ResultStore


def test_every_folder_that_was_named_is_readable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("b", "a"):
        (tmp_path / name).mkdir()
    assert start._folders(["~/b", str(tmp_path / "a")]) == [tmp_path / "b", tmp_path / "a"]
    (tmp_path / "file").touch()
    for name, said in (("file", "is no folder"), ("none", "no such file")):
        with pytest.raises(UsageError, match=f"--folder {tmp_path / name}.*{said}"):
            start._folders([str(tmp_path / "a"), str(tmp_path / name)])


@pytest.mark.parametrize(
    ("http", "frank", "structured"), [(None, True, True), ("127.0.0.1:9", True, False), ("192.0.2.1:9", False, True)]
)
def test_who_is_on_this_machine_learns_why_and_results_are_as_was_chosen(
    http: str | None, frank: bool, structured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = list[Any]()
    monkeypatch.setattr(start, "_until_a_signal", served.append)
    monkeypatch.setattr("virc_extras.mcp.server.over_stdio", lambda found: found)
    monkeypatch.setattr(start, "_over_http", lambda _, found, *__: served.append(found))
    request: Any = start.McpRequest(setup=object(), http=http, structured=structured)  # type: ignore[arg-type]
    start.serve(request, Reporter(None), print)
    (found,) = served
    assert (found.frank, found.structured) == (frank, structured)


@pytest.mark.parametrize(
    ("host", "key", "url"),
    [
        ("127.0.0.1", None, "http://127.0.0.1:9/mcp"),
        ("::1", None, "http://[::1]:9/mcp"),
        ("0.0.0.0", "k", "http://0.0.0.0:9/mcp"),
        ("0.0.0.0", None, None),
    ],
)
def test_an_open_address_needs_a_key(host: str, key: str | None, url: str | None, monkeypatch: Any) -> None:
    bound, given, said, store = ExitStack(), list[tuple[Any, ...]](), list[str](), ResultStore()
    bound.listen = lambda _: None  # type: ignore[attr-defined]
    monkeypatch.setattr("virc.serving.address.bound_socket", lambda config: given.append(config) or bound)
    monkeypatch.setattr("virc_extras.mcp.over_http.app", lambda *words: given.append(words))
    monkeypatch.setattr("virc_extras.mcp.over_http.run", lambda *words: None)
    request: Any = start.McpRequest(setup=object(), api_key=key)  # type: ignore[arg-type]
    with nullcontext() if url else pytest.raises(UsageError, match="could read the folders and ask the model"):
        start._over_http(request, "served", store, (host, 9), said.append)  # type: ignore[arg-type]
    assert said == ([url] if url else [])
    if url:
        config, app = given
        assert (config.host, config.port) == (host, 9)  # type: ignore[attr-defined]
        assert app == ("served", host, key, store.drop)


KEY = "sk-of-the-server"
RIGHT = {"authorization": f"Bearer {KEY}"}


@pytest.mark.parametrize("method", ["POST", "DELETE"])
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401), ({"authorization": "Bearer sk-of-another"}, 401), ({"authorization": f"Basic {KEY}"}, 401),
        ({**RIGHT, "origin": "https://evil.example"}, 403), ({**RIGHT, "host": "virc.example"}, 200), (RIGHT, 200),
    ],
)  # fmt: skip
def test_no_method_gets_through_without_the_key(method: str, headers: dict[str, str], status: int) -> None:
    reached, ended, sent = list[str](), list[str](), list[Any]()

    async def behind(scope: Any, receive: Any, send: Any) -> None:
        reached.append(scope["method"])
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    given = {"host": "localhost:8000", "mcp-session-id": "a1b2", **headers}
    scope = {"type": "http", "method": method, "path": "/mcp", "server": ("127.0.0.1", 8000)}
    scope["headers"] = [(name.encode(), value.encode()) for name, value in given.items()]
    asyncio.run(_Guard(behind, KEY, ended.append)(scope, receive, send))
    passes = status == 200
    assert (sent[0]["status"], reached, ended) == (
        status,
        [method] * passes,
        ["a1b2"] * (passes and method == "DELETE"),
    )


@pytest.mark.parametrize(("piece", "is_refused"), [(b"[]," * 2**16, True), (b"A" * 2**18, False)])
def test_a_body_of_too_many_values_is_refused_before_they_are_made(piece: bytes, is_refused: bool) -> None:
    pieces = [piece] * 20
    read = bytearray()

    async def server(_scope: Any, receive: Any, _send: Any) -> None:
        while pieces:
            read.extend((await receive())["body"])

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": pieces.pop(), "more_body": bool(pieces)}

    async def send(_: Any) -> None:
        raise AssertionError

    headers = [(b"host", b"localhost:8000")]
    scope = {"type": "http", "method": "POST", "path": "/mcp", "server": ("127.0.0.1", 8000), "headers": headers}
    with pytest.raises(HTTPException) if is_refused else nullcontext() as caught:
        asyncio.run(_Guard(server, None, lambda _: None)(scope, receive, send))
    assert caught is None or caught.value.status_code == 413
    assert (len(read) == 20 * len(piece)) is not is_refused
