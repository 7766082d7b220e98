"""Images fetched for clients: from public addresses alone, whatever a name, a redirect or a server says."""

import asyncio
import socket
from collections.abc import Iterator
from ipaddress import ip_address

import pytest
from support.https_site import Site

from virc.core.http.addresses import is_public
from virc.core.http.fetch import Rules
from virc.serving.agent import fetch
from virc.serving.agent.fetch import RULES
from virc.serving.chat_request import RefusedError

LOCAL = [
    "127.0.0.1", "127.8.9.1", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
    "100.100.100.200", "192.0.0.192", "192.0.2.1", "198.18.0.1", "198.51.100.7", "203.0.113.9", "192.88.99.1",
    "168.63.129.16", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255",
    "::1", "::", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::ffff:0:7f00:1", "fe80::1", "fe80::1%eth0",
    "fec0::1", "fc00::1", "fd00:ec2::254", "ff02::1", "64:ff9b::7f00:1", "64:ff9b::808:808", "64:ff9b:1::1",
    "2002:7f00:1::", "2001::1", "2001:0:53aa:64c:0:0:80ff:fffe", "2001:db8::1", "3fff::1", "100::1", "5f00::1",
]  # fmt: skip


PUBLIC = ["8.8.8.8", "1.1.1.1", "172.32.0.1", "2606:4700::1111", "2a00:1450:4001::200e"]


def test_only_addresses_of_the_public_internet_are_connected_to() -> None:
    assert [address for address in [*LOCAL, *PUBLIC] if is_public(ip_address(address))] == PUBLIC


@pytest.fixture
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    found = Site(request.param)
    yield found
    found.close()


def got(url: str, rules: Rules) -> bytes:
    held = list[int]()
    found = asyncio.run(fetch.fetch(url, "image 3", rules, held.append))
    assert sum(held) == len(found)
    return found


def refusal(url: str, rules: Rules) -> str:
    with pytest.raises(RefusedError) as caught:
        got(url, rules)
    assert caught.value.status == 400
    return caught.value.message


def body(content: bytes, status: str = "200 OK", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(content)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + content


def picture(site: Site, path: str, connection: socket.socket) -> None:
    connection.sendall(body(b"pixels"))


@pytest.mark.parametrize("site", [picture], indirect=True)
def test_an_image_is_fetched_and_nothing_is_told_of_the_client(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nothing listens there
    assert got(site.url("/a/b.png?c=d%20e"), site.rules()) == b"pixels"
    assert site.paths == ["/a/b.png?c=d%20e"]
    names = {line.partition(":")[0].lower() for line in site.heads[0].splitlines()[1:] if line}
    assert names == {"host", "user-agent", "accept", "accept-encoding"}


@pytest.mark.parametrize("site", [picture], indirect=True)
def test_no_way_of_writing_it_leads_to_this_machine(site: Site) -> None:
    assert "no public server" in refusal(site.url(), RULES)
    for host in ("127.0.0.1", "127.1", "2130706433", "0x7f.1", "[::1]", "[::ffff:127.0.0.1]", "localhost."):
        assert "no public server" in refusal(f"https://{host}:{site.port}/", site.rules(permits=is_public))
    assert site.paths == []


@pytest.mark.parametrize("site", [picture], indirect=True)
def test_the_address_that_was_checked_is_what_is_connected_to(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that has a permitted address when it is looked up first, and this site's ever after (DNS rebinding)."""
    asked: list[str] = []
    looked_up = socket.getaddrinfo

    def rebound(host: str, port: int, *more: int, **words: int) -> object:
        if host != "localhost":  # an address
            return looked_up(host, port, *more, **words)
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.2" if len(asked) == 1 else "127.0.0.1", port))]

    monkeypatch.setattr(socket, "getaddrinfo", rebound)
    rules = site.rules(permits=lambda address: str(address) == "127.0.0.2")
    assert "no public server" in refusal(site.url(), rules)  # nothing listens there
    assert asked == ["localhost"]
    assert "no public server" in refusal(site.url(), rules)
    assert site.paths == []
    assert got(site.url(), site.rules()) == b"pixels"  # it is the address alone that made the difference


def moved(site: Site, path: str, connection: socket.socket) -> None:
    """/N leads to /N-1, and / to wherever the query says."""
    step, _, target = path.strip("/").partition("?")
    target = target or f"/{int(step) - 1}"
    connection.sendall(body(b"pixels") if step == "0" else body(b"", "302 Found", f"Location: {target}"))


@pytest.mark.integration
@pytest.mark.parametrize("site", [moved], indirect=True)
def test_redirects_are_few_and_each_is_checked(site: Site) -> None:
    assert got(site.url("/3"), site.rules()) == b"pixels"
    assert "redirected more than 3 times" in refusal(site.url("/4"), site.rules())
    for target in ("http://example.org/", "file:///etc/hostname", "https://a@localhost/", "ftp://x/"):
        assert "something else than an https URL" in refusal(site.url(f"/?{target}"), site.rules())
    before = len(site.paths)
    for target in (f"https://127.0.0.2:{site.port}/0", f"https://[::1]:{site.port}/0", "https://169.254.169.254/"):
        assert "no public server" in refusal(site.url(f"/?{target}"), site.rules())
    assert len(site.paths) == before + 3


def missing(site: Site, path: str, connection: socket.socket) -> None:
    connection.sendall(body(b"secret of the intranet", "410 Gone"))


def endless(site: Site, path: str, connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while not site.stop.is_set():
        connection.sendall(bytes(2**16))


def drip(site: Site, path: str, connection: socket.socket) -> None:
    """A head without end, each line in time."""
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    while not site.stop.wait(0.05):
        connection.sendall(b"X-Patience: yes\r\n")


def garbage(site: Site, path: str, connection: socket.socket) -> None:
    connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")


@pytest.mark.parametrize(
    ("site", "said"),
    [
        (missing, "its server answers 410"), (endless, "is over 1 MiB"), (drip, "did not arrive within 0.5 s"),
        (garbage, "no public server gives it"),
    ], indirect=["site"],
)  # fmt: skip
def test_what_a_server_does_is_bounded_and_not_quoted(site: Site, said: str) -> None:
    seconds = 0.5 if "0.5 s" in said else 60.0
    message = refusal(site.url(), site.rules(seconds=seconds, max_bytes=2**20))
    assert message.startswith("image 3 ")
    assert said in message
    assert "secret" not in message
    assert "127.0.0.1" not in message


@pytest.mark.parametrize("site", [picture], indirect=True)
def test_a_server_that_is_not_who_it_says_is_not_believed(site: Site) -> None:
    assert "no public server" in refusal(site.url(), site.rules(tls=None))
    assert "no public server" in refusal(f"https://127.0.0.1:{site.port}/", site.rules())  # the name is another
    assert site.paths == []
