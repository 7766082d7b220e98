"""`virc mcp` in a process of its own, over stdio and HTTP, by the official client and by hand."""

import asyncio
import json
import os
import signal
import socket
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp_server import are_same, noise, pixels
from PIL import Image
from support.entry import ROOT
from support.loopback import free_port
from support.real_server import VIRC

pytestmark = pytest.mark.integration

TRIANGLE = ROOT / "tests" / "pictures" / "triangle.png"
QUESTION = "What is m∠B in triangle MBH?"
HELLO = {
    "jsonrpc": "2.0", "id": 1, "method": "initialize",
    "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "hand", "version": "1"}},
}  # fmt: skip
READY = {"jsonrpc": "2.0", "method": "notifications/initialized"}
Work = Callable[[Client], Awaitable[Any]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "figure.png").write_bytes(TRIANGLE.read_bytes())
    noise(tmp_path / "noise.png", (90, 60))
    return tmp_path


def over_stdio(folder: Path, work: Work, mode: str = "auto") -> Any:
    command = [*VIRC, "mcp", "--model", "tiny", "--endpoint", "none", "--folder", str(folder)]
    parameters = StdioServerParameters(command=command[0], args=command[1:], env=dict(os.environ))

    async def connected() -> Any:
        async with Client(stdio_client(parameters), mode=mode) as client:
            return await work(client)

    return asyncio.run(connected())


@contextmanager
def over_http(folder: Path, *words: str, said: list[str] | None = None) -> Iterator[str]:
    """The address of a server; it ends without a traceback at Ctrl-C. `said` gets the further lines of its stderr."""
    port = free_port()
    command = [*VIRC, "mcp", "--folder", str(folder), "--http", f"127.0.0.1:{port}", *words]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        url = process.stderr.readline().split()[-1]
        assert url == f"http://127.0.0.1:{port}/mcp"
        yield url
        process.send_signal(signal.SIGINT)
        _, printed = process.communicate(timeout=240)
        assert "Traceback" not in printed, printed
        if said is not None:
            said += printed.splitlines()
    finally:
        process.kill()
        process.communicate()


def by_http(url: str, *works: Work, mode: str) -> list[Any]:
    """What each does with a client of its own, all at once."""

    async def connected(work: Work) -> Any:
        async with (
            httpx2.AsyncClient(timeout=60) as http,
            Client(streamable_http_client(url, http_client=http), mode=mode) as client,
        ):
            return await work(client)

    async def together() -> list[Any]:
        return await asyncio.gather(*map(connected, works))

    return asyncio.run(together())


async def all_tools(client: Client) -> None:
    """Use each tool once, with tiny."""
    lines: list[str] = []

    async def progress(_: float, __: float | None, line: str | None) -> None:
        lines.append(str(line))

    assert len((await client.list_tools()).tools) == 6
    crop = await client.call_tool("crop", {"image": "noise.png", "box": [10, 10, 50, 40]})
    name = crop.structured_content["image_id"]
    shown = await client.call_tool("show", {"image": name})
    assert are_same(pixels(shown.content[0]), pixels(crop.content[0]))
    assert pixels((await client.call_tool("scale", {"image": name, "factor": 2})).content[0]).size == (80, 60)
    asked = await client.call_tool("ask", {"image": "figure.png", "question": QUESTION}, progress_callback=progress)
    fields = asked.structured_content
    assert (fields["answer"], fields["model"], len(fields["looks"])) == ("73", "tiny", 3)
    assert lines[-1] == "turn 4: answer"
    verdict = await client.call_tool("evaluate", {"answer": fields["answer"], "reference": "73°"})
    assert verdict.structured_content["verdict"] == "right"
    trace = await client.call_tool("trace", {"trace_id": fields["trace_id"]})
    assert len(trace.structured_content["steps"]) == 4
    assert (await client.call_tool("show", {"image": "/etc/passwd"})).is_error


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_every_tool_works_over_stdio(folder: Path, mode: str) -> None:
    before = {file: file.stat().st_mtime_ns for file in folder.rglob("*")}
    over_stdio(folder, all_tools, mode)
    assert {file: file.stat().st_mtime_ns for file in folder.rglob("*")} == before


def test_every_tool_works_over_http_for_several_at_once(folder: Path) -> None:
    with over_http(folder, "--model", "tiny", "--endpoint", "none") as url:
        by_http(url, all_tools, all_tools, all_tools, mode="legacy")


def test_hosts_reach_stderr_as_text_and_are_counted(folder: Path) -> None:
    said: list[str] = []
    with over_http(folder, "--model", "tiny", "--endpoint", "none", said=said) as url:
        place = url.split("/")[2].split(":")
        for _ in range(14):
            with socket.create_connection((place[0], int(place[1]))) as raw:
                raw.sendall(b"POST /mcp HTTP/1.1\r\nHost: localhost:\x1b[2J\x9b\r\nContent-Length: 0\r\n\r\n")
                raw.recv(100)
    assert not [line for line in said if not line.isprintable()]
    assert len([line for line in said if "Host" in line]) <= 10


def test_over_http_nobody_is_answered_without_the_key(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLIENTS_KEY", "sesame")
    with over_http(folder, "--model", "tiny", "--endpoint", "none", "--api-key", "env:CLIENTS_KEY") as url:
        accept = {"Accept": "application/json, text/event-stream"}
        given = [{}, {"Authorization": "Bearer sesam"}, {"Authorization": "Bearer sesame"}]
        found = [httpx2.post(url, json=HELLO, headers={**accept, **each}, timeout=60).status_code for each in given]
    assert found == [401, 401, 200]


def by_hand(*messages: object, folder: Path) -> subprocess.CompletedProcess[str]:
    """What a process prints for lines on stdin, which is closed then; its answers are waited for."""
    command = [*VIRC, "mcp", "--folder", str(folder), "--model", "tiny", "--endpoint", "none"]
    pipes: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    process = subprocess.Popen(command, text=True, **pipes)
    assert process.stdin
    assert process.stdout
    out = ""
    for message in messages:
        process.stdin.write((message if isinstance(message, str) else json.dumps(message)) + "\n")
        process.stdin.flush()
        while isinstance(message, dict) and "id" in message:
            line = process.stdout.readline()
            out += line
            if not line or json.loads(line).get("id") == message["id"]:
                break
    rest, said = process.communicate(timeout=240)
    return subprocess.CompletedProcess(command, process.returncode, out + rest, said)


def test_stdout_carries_the_protocol_alone_and_closing_stdin_ends_it(folder: Path) -> None:
    arguments = {"name": "ask", "arguments": {"image": "figure.png", "question": QUESTION}}
    asking = {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": arguments}
    done = by_hand(HELLO, READY, "no JSON {", "[]", asking, folder=folder)
    assert done.returncode == 0, done.stderr
    assert all(json.loads(line)["jsonrpc"] == "2.0" for line in done.stdout.splitlines())
    assert "Traceback" not in done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["result"]["structuredContent"]["answer"] == "73"


RECORDED = [
    json.loads(line) for line in Path(__file__).with_name("host_requests.jsonl").read_text("utf-8").splitlines()
]
"""What hosts by other authors sent, one session each: requests in the order in which they came."""


@pytest.mark.parametrize("session", RECORDED, ids=lambda session: session["host"])
def test_requests_of_hosts_of_others_are_answered(folder: Path, session: dict[str, Any]) -> None:
    done = by_hand(*session["requests"], folder=folder)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    results = {answer["id"]: answer["result"] for answer in answers if "id" in answer}
    for request in session["requests"]:
        if request["method"] != "tools/call":
            assert "id" not in request or request["id"] in results
            continue
        result, arguments = results[request["id"]], request["params"]["arguments"]
        assert result.get("isError", False) is (arguments.get("image") == "/etc/passwd")
        if request["params"]["name"] == "ask":
            assert result["structuredContent"]["answer"] == "73"
        if request["params"]["name"] == "evaluate":
            assert result["structuredContent"]["verdict"] == "right"
        if request["params"]["name"] == "crop" and not result.get("isError"):
            sent = pixels(SimpleNamespace(**result["content"][0]))
            assert are_same(sent, Image.open(TRIANGLE).convert("RGB").crop(tuple(arguments["box"])))
