"""What a crowd of slow requests from one client costs another client, and the memory of an agent endpoint.

PYTHONPATH=tests python benchmarks/crowd.py [ROUNDS] [ENGINE]
"""

import base64
import http.client
import io
import json
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from PIL import Image
from support.loopback import free_port
from support.real_server import VIRC

CROWDS = (200, 1000)
OTHER = "127.0.0.2"
WARM, SECONDS = 10, 20.0  # requests, and how long a crowd is looked at


class Round(NamedTuple):
    """Problems of the crowd before the other's answer, its time alone and in the crowd in s, MiB idle and at most."""

    waited: float
    alone: float
    crowded: float
    idle: float
    most: float
    refused: float


def body(samples: int) -> bytes:
    """A question about a photograph of half a megabyte."""
    file = io.BytesIO()
    Image.effect_noise((1000, 750), 60).convert("RGB").save(file, "JPEG", quality=90)
    url = f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
    content = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "How large is angle G?"}]
    return json.dumps({"model": "tiny", "messages": [{"role": "user", "content": content}], "n": samples}).encode()


@contextmanager
def served(*words: str, **how: Any) -> Iterator[tuple[int, int]]:
    """The port and the process of an agent endpoint; `how` it is started is as of `Popen`."""
    port = free_port()
    with subprocess.Popen(
        [*VIRC, "serve", "--agent", *words, "--port", str(port)], stdout=subprocess.PIPE, **how
    ) as process:
        assert process.stdout
        process.stdout.readline()
        try:
            yield port, process.pid
        finally:
            process.kill()


def resident(pid: int) -> float:
    """MiB of memory that a process has."""
    words = Path(f"/proc/{pid}/status").read_text().split()
    return int(words[words.index("VmRSS:") + 1]) / 1024


def ask(port: int, content: bytes, source: str) -> float:
    """Seconds that a request takes."""
    began = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300, source_address=(source, 0))
    connection.request("POST", "/v1/chat/completions", content)
    response = connection.getresponse()
    response.read()
    connection.close()
    assert response.status == 200
    return time.monotonic() - began


class Crowd:
    """Connections that each have sent as much of one request as the server takes."""

    def __init__(self, port: int, count: int, content: bytes) -> None:
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(content)}\r\n\r\n"
        self._message = memoryview(head.encode() + content)
        self._selector = selectors.DefaultSelector()
        self.answered = self.refused = 0
        for _ in range(count):
            self.add(port, "127.0.0.1")

    def add(self, port: int, source: str) -> socket.socket:
        """One more."""
        connection = socket.create_connection(("127.0.0.1", port), 30, (source, 0))
        connection.setblocking(False)
        self._selector.register(connection, selectors.EVENT_READ | selectors.EVENT_WRITE, [0])
        return connection

    def go_on(self) -> list[socket.socket]:
        """Send and receive what is possible; those whose answer has begun."""
        ended = []
        for key, events in self._selector.select(0.02):
            connection, sent = key.fileobj, key.data
            assert isinstance(connection, socket.socket)
            if events & selectors.EVENT_READ:
                ended.append(connection)
                self._end(connection)
            elif events & selectors.EVENT_WRITE:
                with suppress(BlockingIOError):
                    sent[0] += connection.send(self._message[sent[0] : sent[0] + 2**18])
                if sent[0] == len(self._message):
                    self._selector.modify(connection, selectors.EVENT_READ, sent)
        return ended

    def _end(self, connection: socket.socket) -> None:
        status = connection.recv(2**16)[9:12]
        self.answered += status == b"200"
        self.refused += status != b"200"
        self._selector.unregister(connection)
        connection.close()


def run(engine: str, count: int) -> Round:
    """One crowd before a new server."""
    words = ("tiny", "--engine", engine, "--device", "cpu", "--concurrency", "1", "--quiet")
    with served(*words) as (port, pid):
        alone = median(ask(port, body(8), OTHER) for _ in range(WARM))
        idle = most = resident(pid)
        crowd = Crowd(port, count, body(8))
        began, came, waited, crowded = time.monotonic(), None, -1, 0.0
        other = None
        while time.monotonic() < began + SECONDS or waited < 0:
            assert time.monotonic() < began + 10 * SECONDS
            if other is None and time.monotonic() > began + SECONDS / 2:
                other, came, before = crowd.add(port, OTHER), time.monotonic(), crowd.answered
            if other in crowd.go_on():
                assert came is not None
                waited, crowded = crowd.answered - 1 - before, time.monotonic() - came
            most = max(most, resident(pid))
    return Round(waited, alone, crowded, idle, most, crowd.refused)


def main(rounds: str = "3", engine: str = "llamacpp") -> None:
    """Print the medians of each crowd."""
    for count in CROWDS:
        found = Round(*map(median, zip(*(run(engine, count) for _ in range(int(rounds))), strict=True)))
        print(
            f"{engine}, {count} requests of {len(body(8)) // 1000} kB from one client, {found.refused:g} refused\n"
            f"  another waits for {found.waited:g} of its problems: "
            f"{found.alone:.2f} s alone, {found.crowded:.2f} s then, ratio {found.crowded / found.alone:.1f}\n"
            f"  {found.idle:.0f} MiB idle, {found.most:.0f} MiB at most, ratio {found.most / found.idle:.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
