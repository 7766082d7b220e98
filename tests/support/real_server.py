"""The real vLLM behind `virc serve tiny` on the CPU, in processes of its own."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from support.loopback import free_port

VIRC = (sys.executable, "-m", "virc_cli")


class Real(NamedTuple):
    """A server that has answered."""

    process: "subprocess.Popen[str]"
    url: str
    port: int

    def kill(self) -> None:
        """Kill vLLM, all of it, as nothing can be caught or cleared up after; `virc serve` ends by itself."""
        for pid in pids(self.port):
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
        self.process.wait(240)


@contextmanager
def serving(*words: str, port: int | None = None) -> Iterator[Real]:
    """`virc serve` with these words, on that port or a free one, once it has said its address; killed in the end."""
    port = port or free_port()
    command = [*VIRC, "serve", *words, "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url == f"http://127.0.0.1:{port}/v1", process.communicate()[1]
        yield Real(process, url, port)
    finally:
        process.kill()
        process.communicate()


@contextmanager
def real_server(port: int | None = None) -> Iterator[Real]:
    """Serve tiny in float32, as its answers are the same in any engine, on that port or a free one."""
    with serving("tiny", "--device", "cpu", "--dtype", "float32", port=port) as server:
        try:
            yield server
        finally:
            server.process.terminate()
            server.process.communicate(timeout=120)


def pids(port: int) -> list[int]:
    """vLLM's processes that were told this port: its server, which leads their group, and the forks of it."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            words = file.read_bytes().split(b"\0")
            if b"virc.core.orphans" in words and str(port).encode() in words:
                found.append(int(file.parent.name))
    return found
