"""Peak memory of an agent endpoint that is sent pictures of many pixels in few bytes.

Each of 1, 12 and 48 clients sends one PNG of 9,900 x 9,900 pixels of one bit (12 KB) at the same time; then 48 send it
and leave at once. The same with the largest picture that is decoded (`FITTING`). Memory is that of the server and of
the process that decodes. Ends with 1 if a peak is over the promise of docs/serving.md.

PYTHONPATH=tests python benchmarks/pixels.py [ENGINE]
"""

import base64
import http.client
import io
import json
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from PIL import Image
from support.loopback import free_port
from support.real_server import VIRC

PROMISE = 256 + 64  # MiB: of pictures, and what is stated beside them
HUGE, FITTING = (9900, 9900), (7300, 7300)


def body(size: tuple[int, int]) -> bytes:
    """A question about a black picture of that size."""
    file = io.BytesIO()
    Image.new("1", size).save(file, "PNG")
    url = f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
    content = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "How large is angle G?"}]
    return json.dumps({"model": "tiny", "messages": [{"role": "user", "content": content}]}).encode()


@contextmanager
def served(engine: str) -> Iterator[tuple[int, int]]:
    """The port and the process of an agent endpoint that has answered."""
    port = free_port()
    command = [*VIRC, "serve", "tiny", "--agent", "--engine", engine, "--device", "cpu", "--port", str(port)]
    with subprocess.Popen([*command, "--quiet"], stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        ask(port, body((100, 100)), Counter())
        try:
            yield port, process.pid
        finally:
            process.kill()


def memory(pid: int) -> float:
    """MiB that a process and its children have; what they share, as after a fork, counts once."""
    pids = [
        str(pid),
        *(each for file in Path(f"/proc/{pid}/task").glob("*/children") for each in file.read_text().split()),
    ]
    lines = (Path(f"/proc/{each}/smaps_rollup").read_text().partition("\nPss:")[2] for each in pids)
    return sum(int(line.split()[0]) for line in lines) / 1024


class Peak(threading.Thread):
    """Looks at the memory of an endpoint until `ended`; `most` MiB were seen."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.pid, self.most, self.ended = pid, 0.0, threading.Event()
        self.start()

    def run(self) -> None:
        """Look again and again."""
        while not self.ended.wait(0.002):
            with suppress(OSError, IndexError):  # a child that has just ended
                self.most = max(self.most, memory(self.pid))


def ask(port: int, content: bytes, statuses: "Counter[int]") -> None:
    """Send a request and count the status of its answer; 0: none came."""
    connection, status = http.client.HTTPConnection("127.0.0.1", port, timeout=600), 0
    with suppress(OSError, http.client.HTTPException):
        connection.request("POST", "/v1/chat/completions", content)
        response = connection.getresponse()
        response.read()
        status = response.status
    statuses[status] += 1
    connection.close()


def leave(port: int, content: bytes, statuses: "Counter[int]") -> None:
    """Send a request and hang up."""
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(content)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), 60) as connection:
        connection.sendall(head.encode() + content)
        time.sleep(0.2)
    statuses[-1] += 1


def peak(engine: str, clients: int, content: bytes, leaving: bool) -> tuple[float, float, dict[int, int]]:
    """MiB of a fresh endpoint, idle and at most, with so many clients at the same time, and how often each status."""
    with served(engine) as (port, pid):
        idle, statuses, seen = memory(pid), Counter[int](), Peak(pid)
        act = leave if leaving else ask
        threads = [threading.Thread(target=act, args=(port, content, statuses)) for _ in range(clients)]
        began = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if leaving:
            time.sleep(5)
        given = {status: count for status, count in sorted(statuses.items()) if status >= 0}
        ask(port, body((100, 100)), Counter())
        seen.ended.set()
        most, after = seen.most, memory(pid)
        told = ", ".join(f"{count} x {status}" for status, count in given.items())
        print(
            f"{clients:3d} clients{' that leave' if leaving else ''}: {idle:.0f} MiB idle, {most - idle:.0f} MiB more "
            f"at most, {after - idle:.0f} MiB afterwards, {time.monotonic() - began:.1f} s; {told or 'no answers'}",
            flush=True,
        )
        return idle, most, given


def main(engine: str = "llamacpp") -> int:
    """Print the peak of each crowd; 1 where one is over the promise."""
    worst = 0.0
    for size in (HUGE, FITTING):
        content = body(size)
        print(f"{engine}, a PNG of {size[0]:,} x {size[1]:,} pixels in a request of {len(content) / 1000:.0f} kB")
        for clients, leaving in ((1, False), (12, False), (48, False), (48, True)):
            idle, most, _ = peak(engine, clients, content, leaving)
            worst = max(worst, most - idle)
    print(f"at most {worst:.0f} MiB above the idle server; docs/serving.md promises {PROMISE}")
    return int(worst > PROMISE)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
