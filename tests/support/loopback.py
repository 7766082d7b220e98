"""A server on the loopback that can be cut off: what all scripted servers of the tests share."""

import json
import socket
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_PLACES: list[socket.socket] = []


def _place(port: int = 0) -> socket.socket:
    """A socket that is bound to a port and does not listen: the system gives the port to none but who names it."""
    place = socket.socket()
    place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as each server does that is to listen there
    place.bind(("127.0.0.1", port))
    return place


def free_port() -> int:
    """A port on which nothing listens; until this process ends, no other gets it."""
    _PLACES.append(_place())
    return int(_PLACES[-1].getsockname()[1])


class Loopback(ThreadingHTTPServer):
    """A server on a port of 127.0.0.1, a free one where 0 is given. When it has died, another can be started there."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, connection: "type[Connection]", port: int = 0) -> None:
        place = _place(port)
        weakref.finalize(self, place.close)
        super().__init__(place.getsockname(), connection)
        self.connections: set[socket.socket] = set()
        self.accepted = 0
        self.stopping = threading.Event()

    @property
    def address(self) -> str:
        """The URL of the root."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def die(self) -> None:
        """End as a killed process does: nothing listens any more, and every connection is cut."""
        self._BaseServer__shutdown_request = True  # as `shutdown` sets it; the next line wakes the thread
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.shutdown()
        self.server_close()
        for connection in list(self.connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self.stopping.set()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Serve until the block ends."""
        thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self.die()
            thread.join()

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that hang up are part of the tests."""


class Connection(BaseHTTPRequestHandler):
    """One connection to such a server."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # headers and body leave apart: else the second waits 40 ms
    server: Loopback

    def setup(self) -> None:
        self.server.connections.add(self.request)
        self.server.accepted += 1
        super().setup()

    def finish(self) -> None:
        self.server.connections.discard(self.request)
        with suppress(OSError):
            super().finish()

    def log_message(self, format: str, *args: object) -> None:
        """Keep the output of the tests clean."""

    def do_GET(self) -> None:
        self.get()

    def do_HEAD(self) -> None:
        self.head()

    def do_POST(self) -> None:
        self.post()

    def do_PUT(self) -> None:
        self.put()

    def get(self) -> None:
        self.send_error(501)

    head = post = put = get

    def sent(self) -> bytes:
        """The body of the request."""
        return self.rfile.read(int(self.headers["Content-Length"]))

    def send_json(self, value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        self.send_body(json.dumps(value).encode(), status, {"Content-Type": "application/json", **(headers or {})})

    def send_body(self, body: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        self.start(status, {"Content-Length": str(len(body)), **(headers or {})})
        with suppress(OSError):  # the client hung up
            self.wfile.write(body)

    def start(self, status: int, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def start_events(self, status: int = 200, kind: str = "text/event-stream") -> None:
        self.start(status, {"Content-Type": kind, "Transfer-Encoding": "chunked"})

    def send_chunk(self, data: bytes) -> None:
        """One HTTP chunk; an empty one ends the body."""
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def hang_up(self) -> None:
        """Close the connection in the middle of whatever is being sent."""
        self.close_connection = True
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)


def until(true: Callable[[], bool]) -> None:
    """Wait for something to become true."""
    end = time.monotonic() + 200  # that a busy machine may take
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)
