"""One request to a server of this machine or of a cluster."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from virc.core.http import client


class Handler(BaseHTTPRequestHandler):
    """Answers with the status that the path names and the body that was sent; `/large` with over 1 MiB."""

    def do_GET(self) -> None:
        self.answer(b" " * (2**20 + 1) if self.path == "/large" else b"got")

    def do_POST(self) -> None:
        self.answer(self.rfile.read(int(self.headers["Content-Length"])))

    def answer(self, content: bytes) -> None:
        self.send_response(int(self.path[1:]) if self.path[1:].isdecimal() else 200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.usefixtures("no_proxies")
def test_the_status_of_an_error_is_an_answer(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # which is not asked
    assert client.ask(f"{url}/404", seconds=60) == (404, b"got")
    assert client.ask(f"{url}/200", {"a": [1]}, seconds=60) == (200, b'{"a":[1]}')
    assert client.ask(f"{url}/200", {}, seconds=60) == (200, b"{}")


def test_an_answer_is_bounded_in_bytes(url: str) -> None:
    with pytest.raises(ValueError, match="over 1 MiB"):
        client.ask(f"{url}/large", seconds=60)
