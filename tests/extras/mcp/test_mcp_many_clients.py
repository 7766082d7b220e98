"""`virc mcp --http` with many clients, some of which mean it ill: real clients and raw requests, without a socket."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp_server import tool_calls
from PIL import Image

from virc_extras.mcp import over_http, result_store
from virc_extras.mcp.result_store import ResultStore
from virc_extras.mcp.server import Served

URL = "http://127.0.0.1:8000/mcp"
ACCEPT = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
HELLO = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "raw", "version": "1"}}
OPENING = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": HELLO}


class Place:
    """A server, its folder, and clients of any address."""

    def __init__(self, folder: Path, stack: AsyncExitStack) -> None:
        Image.new("RGB", (60, 40), "red").save(folder / "a.png")
        self.store = ResultStore()
        self._calls = tool_calls([folder], store=self.store)
        served = Served(lambda: self._calls, lambda error: None)
        self.guard: Any = over_http.app(served, "127.0.0.1", None, self.store.drop)
        self._stack = stack

    async def start(self) -> None:
        inner = self.guard._app
        await self._stack.enter_async_context(inner.router.lifespan_context(inner))
        self._stack.callback(self._calls.close)

    def http(self, address: str) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(transport=httpx2.ASGITransport(self.guard, client=(address, 1)), timeout=30)

    async def client(self, address: str, mode: str) -> Client:
        http = await self._stack.enter_async_context(self.http(address))
        return await self._stack.enter_async_context(Client(streamable_http_client(URL, http_client=http), mode=mode))

    async def opened(self, address: str) -> httpx2.Response:
        async with self.http(address) as http:
            return await http.post(URL, json=OPENING, headers=ACCEPT)


def at(tmp_path: Path, work: Callable[[Place], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        async with AsyncExitStack() as stack:
            place = Place(tmp_path, stack)
            await place.start()
            return await work(place)

    return asyncio.run(run())


async def kept(client: Client) -> str:
    return str((await client.call_tool("show", {"image": "a.png"})).structured_content["image_id"])


async def finds(client: Client, name: str) -> bool:
    return not (await client.call_tool("show", {"image": name})).is_error


def test_one_address_cannot_shut_out_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(over_http, "_SESSIONS", 4)

    async def work(place: Place) -> None:
        mine = await place.client("10.0.0.9", "legacy")
        name = await kept(mine)
        first = [(await place.opened("10.0.0.1")).headers["mcp-session-id"] for _ in range(8)]
        assert (await place.opened("10.0.0.2")).status_code == 200
        assert await finds(mine, name)
        assert len(place.guard._addresses) == 4
        async with place.http("10.0.0.1") as http:
            ping = {"jsonrpc": "2.0", "id": 2, "method": "ping"}
            codes = [
                (await http.post(URL, json=ping, headers={**ACCEPT, "mcp-session-id": each})).status_code
                for each in first
            ]
        assert codes == [404] * 6 + [200] * 2

    at(tmp_path, work)


def test_clients_without_sessions_drop_results_of_their_address_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(result_store, "_MAX_OF_ADDRESS", 3)

    async def work(place: Place) -> None:
        mine, other, beside = [await place.client(each, "auto") for each in ("10.0.0.9", "10.0.0.1", "10.0.0.9")]
        name = await kept(mine)
        names = [await kept(other) for _ in range(5)]
        assert await finds(mine, name)
        assert await finds(beside, name)
        assert [await finds(other, each) for each in (names[0], names[-1])] == [False, True]

    at(tmp_path, work)
