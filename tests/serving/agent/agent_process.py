"""`virc serve --agent` in a process of its own."""

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from agent_server import raw
from support import real_server


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
    with real_server.serving(*words, "--agent") as found:
        yield Process(found.process, found.url, found.port)
