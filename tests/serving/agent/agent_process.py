"""`virc serve --agent` in a process of its own."""

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from agent_server import raw
from support.loopback import free_port
from support.real_server import VIRC


class Process(NamedTuple):
    """A server that has answered."""

    popen: "subprocess.Popen[str]"
    url: str
    port: int

    def connected(self, body: dict[str, Any]) -> socket.socket:
        """A connection on which a request was sent."""
        connection = socket.create_connection(("127.0.0.1", self.port), 60)
        connection.sendall(raw(body))
        return connection


@contextmanager
def serving(*words: str) -> Iterator[Process]:
    port = free_port()
    command = [*VIRC, "serve", *words, "--agent", "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url == f"http://127.0.0.1:{port}/v1", process.communicate()[1]
        yield Process(process, url, port)
    finally:
        process.kill()
        process.communicate()
