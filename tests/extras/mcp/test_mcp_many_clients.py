"""`virc mcp --http` with many clients, some of which mean it ill: real clients and raw requests, without a socket."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx2
import pytest
from extras.mcp.mcp_server import tool_calls
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from PIL import Image
from support.tables import each_case

from virc.serving.agent import request_queue
from virc_extras.mcp import asking, over_http, result_store
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


def test_busy_sessions_of_one_address_give_way_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(over_http, "_SESSIONS", 2)

    async def work(place: Place) -> None:
        end = asyncio.Event()

        async def unfinished() -> Any:
            yield b"["
            await end.wait()

        async with place.http("10.0.0.1") as http:
            waiting = []
            for _ in range(6):
                session = (await place.opened("10.0.0.1")).headers["mcp-session-id"]
                headers = {**ACCEPT, "mcp-session-id": session}
                waiting.append(asyncio.create_task(http.post(URL, content=unfinished(), headers=headers)))
                while not place.guard._busy[session]:
                    await asyncio.sleep(0.001)
            assert (await place.opened("10.0.0.2")).status_code == 200
            end.set()
            await asyncio.gather(*waiting)
        assert (len(place.guard._addresses), len(place.guard._busy)) == (2, 0)

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
        assert [await finds(other, each) for each in (names[0], names[-1], name)] == [False, True, True]
        assert not await finds(await place.client("10.0.0.9", "legacy"), name)

    at(tmp_path, work)


def test_who_keeps_most_gives_way_first() -> None:
    store = ResultStore(max_bytes=100)
    mine = store.keep("\0a", "image", b"", 40)
    for _ in range(9):
        store.keep("\0b", "image", b"", 20)
    assert store.size <= 100
    assert store.find("\0a", mine) is not None
    few = ResultStore(max_results=2)
    names = [few.keep("one", "image", b"", 1) for _ in range(3)]
    assert [few.find("one", name) for name in names] == [None, b"", b""]


@each_case(("header", "codes"), [
    ({"Host": "evil.example"}, (403, 421)), ({"Origin": "https://evil.example"}, (403,)), ({"Origin": "null"}, (403,)),
    ({"Sec-Fetch-Site": "cross-site"}, (403,)), ({"Origin": "http://127.0.0.1:8000"}, (200,)),
])  # fmt: skip
def test_other_hosts_and_pages_of_other_sites_are_refused(
    tmp_path: Path, header: dict[str, str], codes: tuple[int, ...]
) -> None:
    async def work(place: Place) -> int:
        async with place.http("127.0.0.1") as http:
            return (await http.post(URL, json=OPENING, headers={**ACCEPT, **header})).status_code

    assert at(tmp_path, work) in codes


def test_one_question_more_than_may_wait_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "MAX_WAITING", 0)

    async def work(place: Place) -> Any:
        client = await place.client("10.0.0.1", "auto")
        return await client.call_tool("ask", {"image": "a.png", "question": "?"})

    assert "too many questions are waiting" in at(tmp_path, work).content[0].text


def test_bodies_in_flight_are_bounded_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_queue, "MAX_HELD", 4000)

    async def work(place: Place) -> None:
        come = asyncio.Event()

        async def slow() -> Any:
            yield b"[" + b" " * 3000
            await come.wait()
            yield b"]"

        async with place.http("10.0.0.1") as http:
            waiting = asyncio.create_task(http.post(URL, content=slow(), headers=ACCEPT))
            await asyncio.sleep(0)
            while not place.guard._queue.held:
                await asyncio.sleep(0.001)
            refused = await http.post(URL, content=b"[" + b" " * 2000 + b"]", headers=ACCEPT)
            assert (refused.status_code, "retry-after" in refused.headers) == (429, True)
            come.set()
            assert (await waiting).status_code == 400
        assert place.guard._queue.held == 0
        assert (await place.opened("10.0.0.2")).status_code == 200

    at(tmp_path, work)


def test_a_body_that_stops_is_refused_and_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(over_http, "_SILENT", 0.01)

    async def work(place: Place) -> None:
        async def stopping() -> Any:
            yield b"["
            await asyncio.Event().wait()

        async with place.http("10.0.0.1") as http:
            refused = await http.post(URL, content=stopping(), headers=ACCEPT)
        assert (refused.status_code, place.guard._queue.held, len(place.guard._addresses)) == (408, 0, 0)

    at(tmp_path, work)


def test_hosts_reach_the_terminal_as_text_and_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    log, sdk = over_http._Log(), logging.getLogger("mcp.server.transport_security")
    sdk.addHandler(log)
    for _ in range(100):
        sdk.warning("Invalid Host header: evil\x1b[2J\x07\r\nx")
    sdk.removeHandler(log)
    log.close()
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 11
    assert said[0] == "warning: Invalid Host header: evil [2J x"
    assert said[10] == "warning: 90 more such requests"
