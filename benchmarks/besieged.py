"""Honest clients of an agent endpoint, alone and while others hold connections and readers: `besieged.py [ROUNDS]`.

PYTHONPATH=tests python benchmarks/besieged.py [ROUNDS]

Others are 2,000 silent connections, and one client whose PDFs take longer to read than the bound, which is lowered
(`VIRC_READING_SECONDS`) so that ordinary pages reach it. Honest are 30 clients with a picture and ten with a page of a
PDF, each with an address of its own. The model is a script: what is measured is the endpoint.
"""

import base64
import io
import json
import os
import random
import resource
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from itertools import chain
from pathlib import Path
from statistics import median, quantiles
from typing import NamedTuple

import pypdfium2
from crowd import ask, body, resident, served
from support.servers import serve
from support.solving import answer

SILENT, PICTURES, PAGES, ASKED = 2000, 30, 10, 5
PAUSE = 4.0  # s from one question of a client to its next, at most
BOUND = 0.15  # s of CPU time a page, and five times that a file
HOSTILE = "127.0.0.9"


class Round(NamedTuple):
    """Seconds of 95 of 100 requests with a picture and with a page, MiB of memory, and kB of log."""

    pictures: float
    pages: float
    memory: float
    log: float


def pages(count: int, side: int = 400) -> bytes:
    """A question about a PDF of so many blank pages; the time to read one grows with its side, in points."""
    file, document = io.BytesIO(), pypdfium2.PdfDocument.new()
    for _ in range(count):
        document.new_page(side, side)
    document.save(file)
    data = base64.b64encode(file.getvalue()).decode()
    content = [{"type": "file", "file": {"file_data": data}}, {"type": "text", "text": "What does it show?"}]
    return json.dumps({"model": "virc-scripted", "messages": [{"role": "user", "content": content}]}).encode()


@contextmanager
def besieging(port: int) -> Iterator[None]:
    """What one client and the silent ones do, as long as the block runs."""
    ended, content = threading.Event(), pages(12, 3000)

    def attack() -> None:
        while not ended.is_set():
            with suppress(AssertionError, OSError):  # status 422: it took too long
                ask(port, content, HOSTILE)

    with ExitStack() as stack, ThreadPoolExecutor(8) as pool:
        for _ in range(SILENT):
            stack.enter_context(socket.create_connection(("127.0.0.1", port), 60))
        for _ in range(8):
            pool.submit(attack)
        try:
            yield
        finally:
            ended.set()


def run(is_besieged: bool) -> Round:
    """One server, whose honest clients ask side by side, each several times."""
    picture, page = body(1).replace(b'"tiny"', b'"virc-scripted"'), pages(1)
    with ExitStack() as stack:
        log = Path(stack.enter_context(tempfile.TemporaryDirectory()), "log")
        behind = stack.enter_context(serve(lambda _: answer("1"), usage=False))
        words, env = (
            ("--endpoint", behind.url, "--concurrency", "8"),
            {**os.environ, "VIRC_READING_SECONDS": str(BOUND)},
        )
        port, pid = stack.enter_context(served(*words, env=env, stderr=stack.enter_context(log.open("wb"))))
        if is_besieged:
            stack.enter_context(besieging(port))

        def asked(number: int) -> list[float]:
            content, chance = picture if number < PICTURES else page, random.Random(number)
            times = []
            for _ in range(ASKED):
                time.sleep(PAUSE * chance.random())
                times.append(ask(port, content, f"127.0.1.{number + 1}"))
            return times

        with ThreadPoolExecutor(PICTURES + PAGES) as pool:
            found = [*pool.map(asked, range(PICTURES + PAGES))]
        memory, size = resident(pid), log.stat().st_size / 1000
    pictures, of_pages = ([*chain(*part)] for part in (found[:PICTURES], found[PICTURES:]))
    return Round(quantiles(pictures, n=20)[-1], quantiles(of_pages, n=20)[-1], memory, size)


def main(rounds: str = "3") -> None:
    """Print the medians alone and besieged."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    found = []
    for name, is_besieged in (("alone", False), ("besieged", True)):
        each = Round(*map(median, zip(*(run(is_besieged) for _ in range(int(rounds))), strict=True)))
        times = f"95 of 100 pictures within {each.pictures:.2f} s, pages within {each.pages:.2f} s"
        print(f"{name}: {times}, {each.memory:.0f} MiB, {each.log:.1f} kB of log", flush=True)
        found.append(each)
    longer = [crowded / alone for alone, crowded in zip(*found, strict=True)]
    print(
        f"ratios: pictures {longer[0]:.1f}, pages {longer[1]:.1f}; the bound is {BOUND} s a page, {5 * BOUND} s a file"
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
