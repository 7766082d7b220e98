"""`virc serve --agent`, beside a proxy that passes one request on: `python benchmarks/agent.py LITELLM [ROUNDS]`.

LITELLM is the program `litellm` of an environment with `litellm[proxy]`. Before one scripted server the agent answers
in two turns, with a crop of a photograph of 2 megapixels between them; the proxy passes on one request of the same
size. Both are asked by 1, 16 and 64 clients, in turns, ROUNDS times (5). Counted are the processor time of a request,
the time that half of the requests take at most, and the largest memory of the server's process.
"""

import base64
import http.client
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median
from typing import NamedTuple

from client import ON_GRID, files, server

CLIENTS, REQUESTS = (1, 16, 64), 96
SERVER = """
import sys
sys.path[:0] = sys.argv[1].split(":")
from support.servers import serve, turn_of
from support.solving import answer, call
def turn(body):
    if turn_of(body):
        return answer("1")
    return call("crop_image", "I look at a part.", bbox_2d=[140, 140, 980, 742], image_index=0)
with serve(turn, usage=False) as server:
    print(server.url, flush=True)
    sys.stdin.read()
"""
PROXY = """
model_list: [{model_name: virc-scripted, litellm_params: {model: openai/virc-scripted, api_base: %s, api_key: none}}]
"""


class Cost(NamedTuple):
    """Of a request: processor time and median latency in ms; of the server: largest memory in MiB."""

    cpu: float
    latency: float
    memory: float


def bodies(count: int = REQUESTS, size: tuple[int, int] = ON_GRID) -> list[bytes]:
    """A request each with a file of its own."""
    made = []
    for data in files(count, size, 92):
        url = f"data:image/jpeg;base64,{base64.b64encode(data).decode()}"
        content = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "How many?"}]
        body = {"model": "virc-scripted", "messages": [{"role": "user", "content": content}]}
        made.append(json.dumps(body).encode())
    return made


@contextmanager
def running(words: Sequence[str], port: int, env: Mapping[str, str] = {}) -> Iterator[int]:
    """The process of a server, once something listens at its port."""
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, **env}) as it:
        try:
            for _ in range(600):
                with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                    break
                time.sleep(0.1)
            yield it.pid
        finally:
            it.terminate()


def seconds(pid: int) -> float:
    """Processor time of a process and its children."""
    pids = [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]
    stats = (Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split() for each in pids)
    return sum(int(stat[11]) + int(stat[12]) for stat in stats) / os.sysconf("SC_CLK_TCK")


def asked(port: int, contents: Sequence[bytes], clients: int, requests: int) -> list[float]:
    """The latencies of so many requests in s."""
    left, took = list(range(requests)), list[float]()

    def ask() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        headers = {"Content-Type": "application/json", "Authorization": "Bearer none"}
        with suppress(IndexError):
            while True:
                content = contents[left.pop()]
                began = time.perf_counter()
                connection.request("POST", "/v1/chat/completions", content, headers)
                with connection.getresponse() as response:
                    assert response.status == 200, response.read()
                    response.read()
                took.append(time.perf_counter() - began)

    threads = [threading.Thread(target=ask) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(took) == requests
    return took


def measured(pid: int, port: int, contents: Sequence[bytes], clients: int) -> Cost:
    asked(port, contents, 1, 4)
    before = seconds(pid)
    took = asked(port, contents, clients, len(contents))
    status = Path(f"/proc/{pid}/status").read_text()
    memory = int(status.partition("VmHWM:")[2].split()[0]) / 1024
    return Cost(1000 * (seconds(pid) - before) / len(contents), 1000 * median(took), memory)


def main(litellm: str, rounds: str = "5") -> None:
    """Print the medians of both, and their ratios."""
    contents, virc = bodies(), str(Path(sys.executable).with_name("virc"))
    with server(SERVER) as (url, _):
        config = Path(tempfile.mkdtemp()) / "proxy.yaml"
        config.write_text(PROXY % url)
        env = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true"}
        ours = [virc, "serve", "--agent", "--endpoint", url, "--port", "8991", "--quiet"]
        theirs = [litellm, "--config", str(config), "--host", "127.0.0.1", "--port", "8992"]
        for clients in CLIENTS:
            costs: list[tuple[Cost, Cost]] = []
            for _ in range(int(rounds)):
                with running(ours, 8991) as pid:
                    mine = measured(pid, 8991, contents, clients)
                with running(theirs, 8992, env) as pid:
                    costs.append((mine, measured(pid, 8992, contents, clients)))
            one, other = (Cost(*map(median, zip(*each, strict=True))) for each in zip(*costs, strict=True))
            print(f"{clients} clients, {len(contents[0]) // 1000} kB a request:")
            for unit, agent, proxy in zip(("ms of processor time", "ms at the median", "MiB"), one, other, strict=True):
                print(f"  virc {agent:7.1f}, LiteLLM {proxy:7.1f}, ratio {agent / proxy:.2f}  {unit}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
