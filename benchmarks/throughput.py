"""How busy `virc batch` keeps vLLM: `python benchmarks/throughput.py [PROBLEMS [ROUNDS]]`.

It serves tiny by itself, draws held-out diagrams, and solves them in turns, so that a busy machine slows all alike:

ours     `virc batch`, 16 at a time, as a process; its start-up, that of a batch of no rows, is taken off
ceiling  the requests of ours, recorded by a proxy, sent blindly as bytes, 16 conversations at a time
naive    one problem at a time, every image encoded and sent again with every request (a quarter of the problems)

What vLLM keeps of one it knows nothing of in the next: every run names its images by ids of its own.
"""

import http.client
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from pathlib import Path
from statistics import median
from typing import NamedTuple
from urllib.parse import urlsplit

import msgspec

from virc.backends.chat.backend import OpenAIBackend
from virc.backends.interface import OnText, Sampling
from virc.reasoning.images import Shown, open_file
from virc.reasoning.session import Ask, Reply
from virc.solving.image_source import source_of
from virc.solving.one import SolveConfig, solve
from virc.solving.sources.row_files import open_rows

ROOT = Path(__file__).resolve().parents[1]
VIRC = [sys.executable, "-m", "virc_cli"]
PORT = 8477
AT_ONCE = 16
ENV = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "recipes"))),
    "OMP_NUM_THREADS": "1",
    "VIRC_CONFIG": os.devnull,
}
Conversation = list[bytes]


class Done(NamedTuple):
    """A run: problems solved, tokens drawn, wall time and time of this side's processors, s."""

    problems: int
    tokens: int
    seconds: float
    cpu: float = 0.0

    @property
    def rate(self) -> float:
        """Tokens a second."""
        return self.tokens / self.seconds

    def __str__(self) -> str:
        return f"{self.problems / self.seconds:6.2f} problems/s {self.rate:7.0f} tokens/s"


@contextmanager
def served() -> Iterator[str]:
    """Tiny behind the real server: its address."""
    words = ["serve", "tiny", "--device", "cpu", "--dtype", "float32", "--port", str(PORT)]
    process = subprocess.Popen([*VIRC, *words], env=ENV, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait()


class Recorder(BaseHTTPRequestHandler):
    """Hands every request on and keeps the body of it."""

    protocol_version = "HTTP/1.1"
    bodies: list[bytes] = []  # noqa: RUF012 (of all connections)

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        self.hand_on(None)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.bodies.append(body)
        self.hand_on(body)

    def hand_on(self, body: bytes | None) -> None:
        """Ask the server, and answer as it did."""
        there = http.client.HTTPConnection("127.0.0.1", PORT)
        there.request(self.command, self.path, body, {"Content-Type": "application/json"})
        answer = there.getresponse()
        content = answer.read()
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.headers["Content-Type"])
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def batch(rows: Path, url: str, out: Path) -> Done:
    """Solve the rows with our command."""
    words = ["batch", str(rows), "--to", str(out), "--endpoint", url, "--temperature", "0"]
    words += ["--concurrency", str(AT_ONCE)]
    out.unlink(missing_ok=True)
    began = time.perf_counter()
    process = subprocess.Popen([*VIRC, *words], env=ENV, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    assert status == 0
    lines = [json.loads(line) for line in out.read_bytes().splitlines()]
    tokens = sum(line["tokens"]["completion"] for line in lines)
    return Done(len(lines), tokens, seconds, usage.ru_utime + usage.ru_stime)


def recorded(rows: Path, out: Path) -> list[Conversation]:
    """The requests of our command, conversation by conversation."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Recorder) as proxy:
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        batch(rows, f"http://127.0.0.1:{proxy.server_address[1]}/v1", out)
        proxy.shutdown()
    conversations: dict[str, Conversation] = {}
    for body in Recorder.bodies:
        image, text = json.loads(body)["messages"][1]["content"]
        conversations.setdefault(image["uuid"] + text["text"], []).append(body)
    return list(conversations.values())


def replay(conversations: Sequence[Conversation], url: str, mark: str) -> Done:
    """Send the requests blindly, their ids marked so that the server does not know them yet."""
    marked = [
        [re.sub(rb'("uuid": ?")', rb"\g<1>" + mark.encode(), body) for body in conversation]
        for conversation in conversations
    ]
    place, here = urlsplit(url), threading.local()

    def converse(conversation: Conversation) -> int:
        if not hasattr(here, "connection"):
            here.connection = http.client.HTTPConnection(str(place.hostname), place.port)
        tokens = 0
        for body in conversation:
            here.connection.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
            answer = here.connection.getresponse()
            content = answer.read()
            assert answer.status == 200, content
            tokens += int(re.findall(rb'"completion_tokens": ?(\d+)', content)[-1])
        return tokens

    began, cpu = time.perf_counter(), time.process_time()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        tokens = sum(pool.map(converse, marked))
    return Done(len(marked), tokens, time.perf_counter() - began, time.process_time() - cpu)


def since(first: Done, run: Done) -> Done:
    """A run without one of the first row alone: the start, and that row."""
    return Done(
        run.problems - first.problems, run.tokens - first.tokens, run.seconds - first.seconds, run.cpu - first.cpu
    )


class Naive(OpenAIBackend):
    """Encodes and sends every image with every request."""

    def reply(self, ask: Ask, sampling: Sampling, on_text: OnText | None = None, seconds: float | None = None) -> Reply:
        """As the parent does."""
        self.server = msgspec.structs.replace(self.server, virc_image_ids=None)
        return super().reply(
            Ask(ask.messages, tuple(Shown(shown.pixels) for shown in ask.images)), sampling, on_text, seconds
        )


def naive(rows: Path, url: str, count: int) -> Done:
    """Solve the first `count` rows one after the other."""
    backend = Naive(url)
    protocol = backend.published_protocol()
    assert protocol is not None
    began, cpu, tokens = time.perf_counter(), time.process_time(), 0
    with open_rows(str(rows)) as file:
        for row in islice(file.rows, count):
            image = open_file(*source_of(row.images[0], rows.parent))
            solved = solve(SolveConfig(), backend, protocol, [image], row.question)
            tokens += solved.completion_tokens or 0
    return Done(count, tokens, time.perf_counter() - began, time.process_time() - cpu)


def main(problems: int = 256, rounds: int = 3) -> None:
    """Print the rates of the three in every round, and the medians and ranges of their ratios."""
    with tempfile.TemporaryDirectory() as temporary, served() as url:
        folder = Path(temporary)
        words = ["--to", str(folder / "held"), "--count", str(problems), "--seed", "20000"]
        synth = [*VIRC, "data", "synth", *words, "--split", "heldout", "--formats", "batch", "--drawing", "1"]
        subprocess.run(synth, env=ENV, check=True, capture_output=True)
        rows, out = folder / "held" / "problems.jsonl", folder / "out.jsonl"
        one = rows.with_name("one.jsonl")
        one.write_text(rows.read_text().partition("\n")[0])
        conversations = recorded(rows, out)  # also warms the server up
        requests = sum(map(len, conversations))
        print(f"{problems} problems in {requests} requests, tiny in float32 on {os.cpu_count()} cores", flush=True)
        ratios: dict[str, list[float]] = {"ceiling": [], "naive": []}
        for number in range(rounds):
            found: dict[str, Done] = {}
            for name in ("ours", "ceiling", "naive")[:: -1 if number % 2 else 1]:
                if name == "ours":
                    first = batch(one, url, out)
                    found[name] = since(first, batch(rows, url, out))
                elif name == "ceiling":
                    found[name] = replay(conversations, url, f"{number}-")
                else:
                    found[name] = naive(rows, url, problems // 4)
                cpu = 1000 * found[name].cpu / (requests * found[name].problems / problems)
                print(f"{name:8}{found[name]}, {cpu:.1f} ms of client CPU a request", flush=True)
            for name, each in ratios.items():
                each.append(found["ours"].rate / found[name].rate)
            print(f"start-up of ours and its first row, taken off: {first.seconds:.1f} s", flush=True)
        for name, each in ratios.items():
            aim = " (aim: 0.90)" if name == "ceiling" else ""
            print(f"ours/{name} {median(each):.2f}{aim}, {min(each):.2f} to {max(each):.2f}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
