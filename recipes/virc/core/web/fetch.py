"""Fetches a file over http or https, from addresses that may be connected to, bounded in bytes and redirects.

The check is of the very address that is connected to: a name is looked up once for each connection, so neither a
redirect nor a name that resolves to something else a moment later leads into a private network.
"""

import base64
import http.client
import socket
import ssl
import string
import urllib.request
from collections.abc import Callable
from contextlib import closing, suppress
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, Literal
from urllib.parse import SplitResult, quote, unquote, urljoin, urlsplit, urlunsplit

import msgspec

from virc.core.retry import seconds_asked
from virc.core.text import clause, plain

_PORTS = {"http": 80, "https": 443}
_MOVED = frozenset({301, 302, 303, 307, 308})
_HEADERS = {"User-Agent": "virc", "Accept": "image/*", "Accept-Encoding": "identity"}
_CHUNK = 2**16  # bytes
_ADDRESSES = 4  # of a name that are tried
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_BARRED = [
    ip_network(each)
    for each in (
        "192.0.0.0/24", "192.88.99.0/24",  # special purposes, relays to IPv6
        "168.63.129.16/32",  # the services of a cloud for its own machines
        "2001::/23", "2002::/16", "3fff::/20",  # special purposes and tunnels that hold IPv4 addresses, documentation
    )
]  # fmt: skip
"""Not for everybody, although `is_global` lets them pass in some versions of Python or in all."""

Address = IPv4Address | IPv6Address
Kind = Literal["url", "address", "redirect", "status", "large", "broken"]


def is_public(address: Address) -> bool:
    """Whether an address is one of the public internet, and holds no other within it (RFC 6890, IANA's registries)."""
    if isinstance(address, IPv6Address) and address not in _GLOBAL_UNICAST:
        return False  # mapped, translated, local, multicast ...
    barred = any(address in network for network in _BARRED if network.version == address.version)
    return address.is_global and not address.is_multicast and not barred


def is_loopback(host: str) -> bool:
    """Whether a host, by name or address (no brackets), is this machine itself (RFC 6761, RFC 6890)."""
    with suppress(ValueError):
        return ip_address(host).is_loopback
    return host == "localhost" or host.endswith(".localhost")


def is_private(url: str) -> bool:
    """Whether a URL names its host by an address that is not public, or this machine; other names are not looked up."""
    with suppress(ValueError):
        host = urlsplit(url).hostname or ""
        return is_loopback(host) or not is_public(ip_address(host))
    return False


class Rules(msgspec.Struct, frozen=True):
    """What may be fetched."""

    permits: Callable[[Address], bool] = is_public  # whether an address may be connected to
    trusts_first: bool = False  # the host of the URL itself may have any address, as the user typed it
    schemes: tuple[str, ...] = ("http", "https")  # of the URL and of every redirect
    proxies: bool = False  # use those of the environment
    redirects: int = 10  # how many are followed
    tls: ssl.SSLContext | None = None  # how servers prove who they are; None: by the certificates of this system
    seconds: float = 60.0  # longest wait for one read; the caller limits the time for the whole
    max_bytes: int = 64 * 2**20  # of the file


class FetchError(Exception):
    """A file cannot be fetched.

    Args:
        kind: `url`: it is none; `address`: one that may not be connected to; `redirect`: too many, or to another
            scheme; `status`: of an error; `large`: too many bytes; `broken`: the connection failed or ended early.
        status: of the answer.
        wait: seconds after which the server wants to be asked again, where it says so.
    """

    def __init__(self, kind: Kind, message: str, status: int = 0, wait: float = 0.0) -> None:
        super().__init__(message)
        self.kind, self.message, self.status, self.wait = kind, message, status, wait


class Fetch:
    """One file to fetch; `abort` ends it from another thread, and so does what `on_bytes` raises."""

    def __init__(self, url: str, rules: Rules, on_bytes: Callable[[int], None] = lambda _: None) -> None:
        self._url, self._rules, self._on_bytes = url, rules, on_bytes
        self._aborted = False
        self._socket: socket.socket | None = None
        self._first: tuple[str, int] | None = None

    def run(self) -> bytes:
        try:
            return self._followed(_ascii(self._url))
        except (OSError, http.client.HTTPException) as error:
            raise FetchError("broken", f"cannot fetch {self._url}: {clause(error)}") from None
        except ValueError as error:
            raise FetchError("url", f"cannot fetch {self._url}: {clause(error)}") from None
        finally:
            self._keep(None)

    def abort(self) -> None:
        self._aborted = True
        if self._socket:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def _keep(self, opened: socket.socket | None) -> None:
        """Remember a connection for `abort`, by a second descriptor: TLS takes the first one over."""
        if self._socket:
            self._socket.close()
        self._socket = opened.dup() if opened else None

    def _followed(self, url: str) -> bytes:
        for hop in range(1 + self._rules.redirects):
            connection, target, headers = self._connection(url, hop)
            with closing(connection):
                connection.request("GET", target, headers=headers)
                response = connection.getresponse()
                if response.status not in _MOVED:
                    return self._body(response)
                location = response.getheader("Location") or ""
            url = _ascii(urljoin(url, location))
            parts = urlsplit(url)
            if not location or parts.scheme not in self._rules.schemes or "@" in parts.netloc:
                allowed = " or ".join(self._rules.schemes)
                raise FetchError("redirect", f"{self._url} is redirected to something else than an {allowed} URL")
        raise FetchError("redirect", f"{self._url} is redirected more than {self._rules.redirects} times")

    def _connection(self, url: str, hop: int) -> tuple[http.client.HTTPConnection, str, dict[str, str]]:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or _PORTS.get(parts.scheme, 0)
        if parts.scheme not in self._rules.schemes or not host or parts.port == 0:
            raise ValueError("not an http URL")
        target = urlunsplit(("", "", parts.path or "/", parts.query, ""))
        proxy = _proxy(parts) if self._rules.proxies else None
        if proxy is None:
            connection = self._http(parts.scheme, host, port)
            vars(connection)["_create_connection"] = lambda address, *_: self._connected(address, hop)
            return connection, target, _HEADERS
        if hop or not self._rules.trusts_first:
            self._check_behind_proxy(host, port, hop)
        connection = self._http(parts.scheme, str(proxy.hostname), proxy.port or _PORTS["http"])
        login = f"{unquote(proxy.username or '')}:{unquote(proxy.password or '')}".encode()
        identity = {"Proxy-Authorization": f"Basic {base64.b64encode(login).decode()}"} if proxy.username else {}
        if parts.scheme == "https":
            connection.set_tunnel(host, port, identity)
            return connection, target, _HEADERS
        return connection, url, {**_HEADERS, **identity, "Host": parts.netloc}

    def _http(self, scheme: str, host: str, port: int) -> http.client.HTTPConnection:
        seconds = self._rules.seconds
        if scheme == "http":
            return http.client.HTTPConnection(host, port, timeout=seconds)
        tls = self._rules.tls or ssl.create_default_context()
        return http.client.HTTPSConnection(host, port, timeout=seconds, context=tls)

    def _connected(self, place: tuple[str, int], hop: int) -> socket.socket:
        host, port = place
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        allowed = [each for each in found if self._allows(str(each[4][0]), port, hop)]
        if not allowed:
            raise self._not_permitted(host, str(found[0][4][0]) if found else "none")
        failure = OSError("no address")
        for family, kind, protocol, _, address in allowed[:_ADDRESSES]:
            opened = socket.socket(family, kind, protocol)
            opened.settimeout(self._rules.seconds)
            try:
                opened.connect(address)
            except OSError as error:
                opened.close()
                failure = error
                continue
            self._keep(opened)
            if self._aborted:
                self.abort()
            if hop == 0:
                self._first = (str(address[0]), port)
            return opened
        raise failure

    def _allows(self, address: str, port: int, hop: int) -> bool:
        is_trusted = self._rules.trusts_first and (hop == 0 or (address, port) == self._first)
        return is_trusted or self._rules.permits(ip_address(address))

    def _check_behind_proxy(self, host: str, port: int, hop: int) -> None:
        """Refuse a redirect to a name that is private as this machine sees it; the proxy looks it up again."""
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError:  # only the proxy knows names
            return
        for each in found:
            if not self._allows(str(each[4][0]), port, hop):
                raise self._not_permitted(host, str(each[4][0]))

    def _not_permitted(self, host: str, address: str) -> FetchError:
        where = address if host == address else f"{host}, which is {address}"
        return FetchError("address", f"{self._url} leads to {where}: this is not a public address")

    def _body(self, response: http.client.HTTPResponse) -> bytes:
        if response.status != 200:
            message = f"{self._url} answers {response.status} {plain(response.reason)}".rstrip()
            raise FetchError("status", message, response.status, seconds_asked(dict(response.getheaders())) or 0.0)
        content = bytearray()
        while chunk := response.read1(_CHUNK):
            self._on_bytes(len(chunk))
            content += chunk
            if len(content) > self._rules.max_bytes:
                raise FetchError("large", f"{self._url} is over {self._rules.max_bytes >> 20} MiB")
        if response.length:
            total = len(content) + response.length
            raise FetchError("broken", f"{self._url} ended after {len(content)} of {total} bytes")
        if self._aborted:
            raise OSError("aborted")
        return bytes(content)


def _proxy(parts: SplitResult) -> SplitResult | None:
    """The proxy for a URL, by `http_proxy`, `https_proxy` and `no_proxy`, or the settings of the system."""
    address: Any = urllib.request.getproxies().get(parts.scheme)
    if not address or urllib.request.proxy_bypass(parts.hostname or ""):
        return None
    return urlsplit(address if "//" in address else f"http://{address}")


def _ascii(url: str) -> str:
    """A URL as it is sent: names by IDNA, other letters and spaces in percent."""
    parts = urlsplit(url)
    path, query = (quote(part, safe=string.punctuation) for part in (parts.path, parts.query))
    return urlunsplit((parts.scheme, parts.netloc.encode("idna").decode(), path, query, ""))
