"""One request to a server of this machine or of a cluster."""

from collections.abc import Iterator

import pytest
from support.loopback import Connection, Loopback

from virc.core.http import client


class Handler(Connection):
    """Answers with the status that the path names and the body that was sent; `/large` with over 1 MiB."""

    def get(self) -> None:
        self.answer(b" " * (2**20 + 1) if self.path == "/large" else b"got")

    def post(self) -> None:
        self.answer(self.sent())

    def answer(self, content: bytes) -> None:
        self.send_body(content, int(self.path[1:]) if self.path[1:].isdecimal() else 200)


@pytest.fixture
def url() -> Iterator[str]:
    server = Loopback(Handler)
    with server.running():
        yield server.address


@pytest.mark.usefixtures("no_proxies")
def test_the_status_of_an_error_is_an_answer(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # which is not asked
    assert client.ask(f"{url}/404", seconds=60) == (404, b"got")
    assert client.ask(f"{url}/200", {"a": [1]}, seconds=60) == (200, b'{"a":[1]}')
    assert client.ask(f"{url}/200", {}, seconds=60) == (200, b"{}")


def test_an_answer_is_bounded_in_bytes(url: str) -> None:
    with pytest.raises(ValueError, match="over 1 MiB"):
        client.ask(f"{url}/large", seconds=60)
