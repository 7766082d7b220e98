"""What a fetch follows, refuses and gives up, from a server on this machine."""

from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from typing import ClassVar
from urllib.parse import urlsplit

import pytest
from support.loopback import Connection, Loopback

from virc.core.http.addresses import Address
from virc.core.http.fetch import Fetch, FetchError, Rules


class _Connection(Connection):
    def do_GET(self) -> None:  # noqa: N802
        """Answer by the path: /moved/N leads to /moved/N-1 and then to /file; /local to a file."""
        name, _, count = self.path.strip("/").partition("/")
        steps = int(count or 1) - 1
        places = {"moved": f"/moved/{steps}" if steps else "/file", "local": "file:///etc/passwd"}
        place, body = places.get(name), b"x" * 100
        self.send_response(302 if place else 404 if name == "gone" else 200)
        if place:
            self.send_header("Location", place)
        self.send_header("Content-Length", str(1_000 if name == "half" else len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = name == "half"


@pytest.fixture(scope="module")
def server() -> Iterator[Loopback]:
    server = Loopback(_Connection)
    with server.running():
        yield server


def nowhere(address: Address) -> bool:
    """No address may be connected to."""
    return False


def this_machine(address: Address) -> bool:
    """The addresses of this machine may be connected to."""
    return address in (ip_address("127.0.0.1"), ip_address("::1"))


@pytest.mark.parametrize(
    ("path", "rules", "kind"),
    [
        ("file", Rules(permits=this_machine), None),
        ("file", Rules(permits=nowhere), "address"),
        ("file", Rules(permits=nowhere, trusts_first=True), None),
        ("moved/1", Rules(permits=nowhere, trusts_first=True), None),  # the same address and port
        ("moved/3", Rules(permits=this_machine, redirects=3), None),
        ("moved/3", Rules(permits=this_machine, redirects=2), "redirect"),
        ("local", Rules(permits=this_machine), "redirect"),
        ("half", Rules(permits=this_machine), "broken"),
        ("gone", Rules(permits=this_machine), "status"),
        ("file", Rules(permits=this_machine, max_bytes=100), None),
        ("file", Rules(permits=this_machine, max_bytes=99), "large"),
        ("file", Rules(permits=this_machine, schemes=("https",)), "url"),
    ],
)
def test_what_is_fetched_follows_the_rules(server: Loopback, path: str, rules: Rules, kind: str | None) -> None:
    fetch = Fetch(f"{server.address}/{path}", rules)
    if kind is None:
        assert fetch.run() == b"x" * 100
    else:
        with pytest.raises(FetchError) as refused:
            fetch.run()
        assert refused.value.kind == kind


class _Noted(Connection):
    """Notes what it is asked; leads /deep/start to /other/two, that to /other/three, and /user to a URL with a user."""

    asked: ClassVar[list[tuple[str, Mapping[str, str]]]] = []

    def do_GET(self) -> None:  # noqa: N802
        self.asked.append((self.path, dict(self.headers)))
        there = f"http://me@127.0.0.1:{self.server.server_address[1]}/file"
        place = {"/deep/start": "/other/two", "/other/two": "three?x=1", "/user": there}.get(self.path)
        self.send_response(302 if place else 503 if self.path == "/busy" else 200)
        for name, value in (("Location", place), ("Retry-After", "7"), ("Content-Length", "3")):
            if value:
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(b"abc")


@pytest.mark.usefixtures("no_proxies")
def test_what_is_asked_is_what_was_written(monkeypatch: pytest.MonkeyPatch) -> None:
    rules, read, noted = Rules(permits=this_machine), list[int](), Loopback(_Noted)
    _Noted.asked.clear()
    with noted.running():
        assert Fetch(f"{noted.address}/a b/\u00e9?q=\u00fc 1&r=%20#here", rules, read.append).run() == b"abc"
        assert Fetch(f"{noted.address}/deep/start", rules).run() == b"abc"
        with pytest.raises(FetchError, match="is redirected to something else than an http or https URL"):
            Fetch(f"{noted.address}/user", rules).run()
        with pytest.raises(FetchError, match="/busy answers 503 Service Unavailable") as busy:
            Fetch(f"{noted.address}/busy", rules).run()
        assert (busy.value.status, busy.value.wait, sum(read)) == (503, 7.0, 3)
        aborted = Fetch(f"{noted.address}/file", rules)
        aborted.abort()
        with pytest.raises(FetchError) as broken:
            aborted.run()
        assert broken.value.kind == "broken"
        paths = [path for path, _ in _Noted.asked]
        assert paths[:4] == ["/a%20b/%C3%A9?q=%C3%BC%201&r=%20", "/deep/start", "/other/two", "/other/three?x=1"]
        place = noted.address.partition("//")[2]
        for proxy in (f"http://me:p%40ss@{place}", place):
            monkeypatch.setenv("http_proxy", proxy)
            assert Fetch("http://b\u00fccher.example:81/a?b", Rules(proxies=True)).run() == b"abc"
            path, headers = _Noted.asked[-1]
            assert (path, headers["Host"]) == ("http://xn--bcher-kva.example:81/a?b", "xn--bcher-kva.example:81")
            assert headers.get("Proxy-Authorization") == ("Basic bWU6cEBzcw==" if "@" in proxy else None)  # me:p@ss
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        assert Fetch(f"{noted.address}/file", Rules(permits=this_machine, proxies=True)).run() == b"abc"
        assert _Noted.asked[-1][0] == "/file"


def test_a_redirect_from_the_typed_host_to_another_port_is_not_followed(server: Loopback) -> None:
    other = Loopback(_Connection)

    class Away(_Connection):
        def do_GET(self) -> None:  # noqa: N802
            self.send_response(302)
            self.send_header("Location", f"{server.address}/file")
            self.send_header("Content-Length", "0")
            self.end_headers()

    other.RequestHandlerClass = Away
    with other.running(), pytest.raises(FetchError, match="this is not a public address") as refused:
        Fetch(f"{other.address}/x", Rules(permits=nowhere, trusts_first=True)).run()
    assert refused.value.kind == "address"
    assert urlsplit(server.address).port != urlsplit(other.address).port
