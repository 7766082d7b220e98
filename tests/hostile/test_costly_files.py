"""Pictures that cost a thousand times their bytes: no command takes more memory for them than it promises."""

import base64
import json
import subprocess
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support import host, servers
from support.costly_pictures import COSTLY, jpeg_of_fill
from support.loopback import free_port
from support.solving import answer, picture

from benchmarks import pixels

pytestmark = pytest.mark.integration
NAMES = ("webp", "webp that fits", "animated webp", "png", "png of two headers")
TIMES = 12


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    """The costly files; each says at least 9,900 x 9,900 pixels."""
    return {name: COSTLY[name]() for name in NAMES}


@contextmanager
def watched(process: "subprocess.Popen[bytes]") -> Iterator[pixels.Peak]:
    """Looks at the memory of a program and those that it starts, and ends it where it has not ended."""
    peak = pixels.Peak(process.pid)
    try:
        yield peak
    finally:
        peak.ended.set()
        peak.join()
        process.terminate()
        host.told(process)


def in_base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def body(data: bytes) -> bytes:
    """A request of a client of the agent."""
    content = [
        {"type": "image_url", "image_url": {"url": f"data:image/any;base64,{in_base64(data)}"}},
        {"type": "text", "text": "?"},
    ]
    return json.dumps({"model": "m", "messages": [{"role": "user", "content": content}]}).encode()


def test_clients_of_the_agent_are_refused_and_others_answered(
    home: host.Home, tmp_path: Path, files: dict[str, bytes]
) -> None:
    small, port = body(picture(tmp_path / "a.png").read_bytes()), free_port()
    slow = body(jpeg_of_fill(2**22))  # seconds of CPU time for its header
    with servers.serve([answer("7")]) as behind:
        process = home.start("serve", "--agent", "--endpoint", behind.url, "--name", "m", "--port", port)
        with watched(process) as peak, ThreadPoolExecutor(16) as clients:
            assert process.stdout
            process.stdout.readline()
            attacks, others = Counter[int](), Counter[int]()
            pixels.ask(port, small, others)
            idle = pixels.memory(process.pid)
            sent = [
                clients.submit(pixels.ask, port, data, attacks) for data in [*map(body, files.values()), slow] * TIMES
            ]
            while not all(each.done() for each in sent):
                pixels.ask(port, small, others)
    assert peak.most - idle < pixels.PROMISE
    assert set(attacks) == {400, 413}, attacks
    assert set(others) == {200}


def test_a_client_of_mcp_is_refused(home: host.Home, tmp_path: Path, files: dict[str, bytes]) -> None:
    def line(method: str, **more: Any) -> bytes:
        return json.dumps({"jsonrpc": "2.0", "method": method, **more}).encode() + b"\n"

    def called(number: int, tool: str, data: bytes, **more: Any) -> bytes:
        arguments = {"image": in_base64(data), **more}
        return line("tools/call", id=number, params={"name": tool, "arguments": arguments})

    told = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}}
    small = picture(tmp_path / "a.png").read_bytes()
    process = home.start("mcp", "--endpoint", servers.dead_url(), stdin=subprocess.PIPE)
    with watched(process) as peak:
        assert process.stdin
        assert process.stdout

        def exchange(*lines: bytes, count: int = 1) -> list[Any]:
            process.stdin.write(b"".join(lines))
            process.stdin.flush()
            return [json.loads(process.stdout.readline())["result"] for _ in range(count)]

        exchange(line("initialize", id=0, params=told), line("notifications/initialized"))
        assert not exchange(called(1, "show", small))[0].get("isError")
        idle = pixels.memory(process.pid)
        calls = [called(n + 2, "show", data) for n, data in enumerate([*files.values(), jpeg_of_fill(2**22)] * TIMES)]
        assert all(result["isError"] for result in exchange(*calls, count=len(calls)))
        assert not exchange(called(1, "crop", small, box=[0, 0, 56, 56]))[0].get("isError")
    assert peak.most - idle < pixels.PROMISE


@pytest.mark.parametrize(
    ("words", "code"), [(("batch", "ROWS", "--endpoint", "URL"), 1), (("data", "check", "ROWS"), 5)]
)
def test_rows_of_strangers_stay_within_a_limit_that_is_set(
    home: host.Home, tmp_path: Path, files: dict[str, bytes], words: tuple[str, ...], code: int
) -> None:
    names = {name: f"{number}.img" for number, name in enumerate(files)}
    for name, data in files.items():
        (tmp_path / names[name]).write_bytes(data)
    picture(tmp_path / "small.png")
    images = [*([*names.values()] * TIMES), "small.png"]
    rows = tmp_path / "rows.jsonl"
    rows.write_text(
        "".join(json.dumps({"id": str(n), "image": each, "question": "?"}) + "\n" for n, each in enumerate(images))
    )
    with servers.serve([answer("7")]) as server:
        places = {"ROWS": str(rows), "URL": server.url}
        process = home.start(*(places.get(word, word) for word in words), VIRC_IMAGE_MEMORY="256")
        peak = pixels.Peak(process.pid)
        done = host.told(process)
        peak.ended.set()
        assert len(server.chats()) == (words[0] == "batch")
    assert done.code == code, done.err
    assert peak.most < pixels.PROMISE
