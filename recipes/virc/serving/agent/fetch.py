"""An image fetched for a client: over https, from a public address, bounded in bytes and time.

What is checked is the very address that is connected to: no name that resolves to something else a moment later, and no
redirect, leads into the network this server stands in.
"""

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpcore2
import msgspec

from virc.serving.chat_request import RefusedError

SECONDS = 20.0
MOST_BYTES = 32 * 2**20
REDIRECTS = 3
_ADDRESSES = 4  # of a name that are tried
_LOOKUPS = threading.BoundedSemaphore(128)  # names that are looked up at a time
_WAIT = 10  # seconds after which one who was turned away may ask again
_MOVED = frozenset({301, 302, 303, 307, 308})
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_BARRED = [
    ip_network(each)
    for each in (
        "192.0.0.0/24", "192.88.99.0/24",  # special purposes, relays to IPv6
        "168.63.129.16/32",  # the services of a cloud for its own machines
        "2001::/23", "2002::/16", "3fff::/20",  # special purposes and tunnels that hold IPv4 addresses, documentation
    )
]  # fmt: skip
"""What `is_global` lets pass, in some versions of Python or in all, and is not meant for everybody."""

Address = IPv4Address | IPv6Address
_SocketOption = tuple[int, int, int] | tuple[int, int, bytes | bytearray] | tuple[int, int, None, int]


def is_public(address: Address) -> bool:
    """Whether an address is one of the public internet, and holds no other within it (RFC 6890, IANA's registries)."""
    if isinstance(address, IPv6Address) and address not in _GLOBAL_UNICAST:
        return False  # mapped, translated, local, multicast ...
    barred = any(address in network for network in _BARRED if network.version == address.version)
    return address.is_global and not address.is_multicast and not barred


class Rules(msgspec.Struct, frozen=True):
    """What may be fetched.

    Args:
        permits: whether an address may be connected to.
        tls: how servers prove who they are; None: by the certificates of this system.
        seconds: for an image, redirects included.
        most_bytes: of an image.
    """

    permits: Callable[[Address], bool] = is_public
    tls: ssl.SSLContext | None = None
    seconds: float = SECONDS
    most_bytes: int = MOST_BYTES


class _NotPublicError(OSError):
    """A name has no address that may be connected to."""


class _Public(httpcore2.AsyncNetworkBackend):
    """Connects to addresses that are permitted, and looks a name up once, itself."""

    def __init__(self, permits: Callable[[Address], bool]) -> None:
        self._permits = permits
        self._inner = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[_SocketOption] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """A connection to the first permitted address of a name that takes one."""
        addresses = await _looked_up(host, port)
        failure: Exception = _NotPublicError(host)
        for address in [each for each in addresses if self._permits(ip_address(each))][:_ADDRESSES]:
            try:
                return await self._inner.connect_tcp(address, port, timeout, None, socket_options)
            except httpcore2.NetworkError as error:
                failure = error
        raise failure

    async def connect_unix_socket(self, *_: Any, **__: Any) -> httpcore2.AsyncNetworkStream:
        """Never: a URL names none."""
        raise _NotPublicError


async def _looked_up(host: str, port: int) -> list[str]:
    """The addresses of a name.

    Each name is looked up in a thread of its own, which nobody waits for: a client's own name server may never answer.
    """
    if not _LOOKUPS.acquire(blocking=False):
        raise RefusedError("too many names are being looked up: ask again later", status=429, wait=_WAIT)
    done: Future[list[str]] = Future()
    done.set_running_or_notify_cancel()  # the thread ends it, whoever waits

    def look_up() -> None:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            done.set_result([*dict.fromkeys(str(each[4][0]) for each in found)])
        except Exception as error:
            done.set_exception(error)
        finally:
            _LOOKUPS.release()

    threading.Thread(target=look_up, name="agent-name", daemon=True).start()
    return await asyncio.wrap_future(done)


async def fetch(url: str, name: str, rules: Rules, hold: Callable[[int], None] = lambda _: None) -> bytes:
    """The body behind an https URL. No proxy is asked, and nothing of the client is sent but the address.

    Args:
        name: what the image is called, for messages.
        hold: told of the bytes of every piece that has come; may refuse more.

    Raises:
        RefusedError: it cannot be had. The sentence tells nothing about the network but what the client knows.
    """
    try:
        async with asyncio.timeout(rules.seconds):
            return await _followed(url, name, rules, hold)
    except TimeoutError:
        raise _refused(f"{name} did not arrive within {rules.seconds:g} s") from None
    except (OSError, UnicodeError, ValueError, httpcore2.NetworkError, httpcore2.ProtocolError,
            httpcore2.UnsupportedProtocol, httpcore2.TimeoutException):  # fmt: skip
        raise _refused(f"{name} cannot be fetched: no public server gives it by https") from None


async def _followed(url: str, name: str, rules: Rules, hold: Callable[[int], None]) -> bytes:
    backend = _Public(rules.permits)
    for _ in range(1 + REDIRECTS):
        pool = httpcore2.AsyncConnectionPool(rules.tls, max_connections=1, network_backend=backend)
        headers = {"Host": urlsplit(url).netloc, "User-Agent": "virc", "Accept": "image/*",
                   "Accept-Encoding": "identity"}  # fmt: skip
        async with pool, pool.stream("GET", url, headers=list(headers.items())) as response:
            if response.status not in _MOVED:
                return await _body(response, name, rules.most_bytes, hold)
            url = _target(url, response, name)
    raise _refused(f"{name} is redirected more than {REDIRECTS} times")


def _target(url: str, response: httpcore2.Response, name: str) -> str:
    """Where a redirect leads."""
    locations = [value for key, value in response.headers if key.lower() == b"location"]
    target = urljoin(url, locations[0].decode("ascii")) if locations else ""
    parts = urlsplit(target)
    if parts.scheme != "https" or not parts.hostname or "@" in parts.netloc:
        raise _refused(f"{name} is redirected to something else than an https URL")
    return target


async def _body(response: httpcore2.Response, name: str, most: int, hold: Callable[[int], None]) -> bytes:
    if response.status != 200:
        raise _refused(f"{name} cannot be fetched: its server answers {response.status}")
    content = bytearray()
    async for piece in response.aiter_stream():
        hold(len(piece))
        content += piece
        if len(content) > most:
            raise _refused(f"{name} is over {most >> 20} MiB")
    return bytes(content)


def _refused(message: str) -> RefusedError:
    return RefusedError(message, "messages")
