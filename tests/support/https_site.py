"""An https server that does what a test says."""

import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress

import msgspec
import trustme

from virc.core.http.fetch import Rules
from virc.serving.agent.fetch import RULES

Handler = Callable[["Site", str, "socket.socket"], None]


class Site:
    """An https server on the loopback, for `localhost`."""

    def __init__(self, answer: Handler) -> None:
        self.answer = answer
        self.paths: list[str] = []
        self.heads: list[str] = []
        self.authority = trustme.CA()
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.authority.issue_cert("localhost").configure_cert(self._tls)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.stop = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    def url(self, path: str = "/x.png") -> str:
        return f"https://localhost:{self.port}{path}"

    def rules(self, **words: object) -> Rules:
        """The loopback counts as public, and this site as who it says it is."""
        tls = ssl.create_default_context()
        self.authority.configure_trust(tls)
        words = {"permits": lambda address: str(address) == "127.0.0.1", "tls": tls, **words}
        return msgspec.structs.replace(RULES, **words)

    def close(self) -> None:
        self.stop.set()
        self._listener.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._exchange, args=(connection,), daemon=True).start()

    def _exchange(self, plain: socket.socket) -> None:
        with suppress(OSError), self._tls.wrap_socket(plain, server_side=True) as connection:
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += connection.recv(4096)
            self.heads.append(head.decode())
            self.paths.append(head.split()[1].decode())
            self.answer(self, self.paths[-1], connection)
