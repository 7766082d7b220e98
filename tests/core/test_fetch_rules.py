"""What a fetch follows, refuses and gives up, from a server on this machine."""

from collections.abc import Iterator
from ipaddress import ip_address
from urllib.parse import urlsplit

import pytest
from support.loopback import Connection, Loopback

from virc.core.web.fetch import Address, Fetch, FetchError, Rules


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
