"""Fetches a file over http or https, from addresses that may be connected to, bounded in bytes and redirects.

The check is of the very address that is connected to: a name is looked up once for each redirect, so neither a
redirect nor a name that resolves to something else a moment later leads into a private network.
"""

import socket
import ssl
from collections.abc import Callable
from contextlib import closing
from ipaddress import ip_address
from typing import TYPE_CHECKING, Literal

import msgspec

from virc.core.http import client
from virc.core.http.addresses import Address, is_public
from virc.core.http.body import Ending, TooLargeError, within_bytes
from virc.core.http.library import http_library
from virc.core.http.waiting import seconds_asked
from virc.core.text import clause, plain

if TYPE_CHECKING:
    import httpx2 as httpx

_PORTS = {"http": 80, "https": 443}
_MOVED = frozenset({301, 302, 303, 307, 308})
_HEADERS = {**client.IDENTITY, "Accept": "image/*"}
_ADDRESSES = 4  # of a name that are tried
Kind = Literal["url", "address", "redirect", "status", "large", "broken"]


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
        self._ending = Ending()
        self._first: tuple[str, int] | None = None

    def run(self) -> bytes:
        http = http_library()
        try:
            return self._followed(http.URL(self._url))
        except (OSError, http.HTTPError) as error:
            raise FetchError("broken", f"cannot fetch {self._url}: {clause(error)}") from None
        except TooLargeError:
            raise FetchError("large", f"{self._url} is over {self._rules.max_bytes >> 20} MiB") from None
        except (ValueError, http.InvalidURL) as error:
            raise FetchError("url", f"cannot fetch {self._url}: {clause(error)}") from None

    def abort(self) -> None:
        self._ending.end()

    def _followed(self, url: "httpx.URL") -> bytes:
        allowed = self._rules.schemes
        if url.scheme not in allowed or not url.host or url.port == 0:
            raise ValueError("not an http URL")
        for hop in range(1 + self._rules.redirects):
            by_proxy = client.proxy_address(str(url)) if self._rules.proxies else None
            tls = (self._rules.tls or ssl.create_default_context()) if url.scheme == "https" else None
            with (
                client.open_client(str(url), proxies=False, proxy=by_proxy[1] if by_proxy else None, tls=tls) as opened,
                closing(self._response(opened, url, hop, bool(by_proxy))) as response,
            ):
                if response.status_code not in _MOVED:
                    return self._body(response)
                location = response.headers.get("Location", "")
            url = url.join(location)
            if not location or url.scheme not in allowed or url.userinfo:
                sentence = f"{self._url} is redirected to something else than an {' or '.join(allowed)} URL"
                raise FetchError("redirect", sentence)
        raise FetchError("redirect", f"{self._url} is redirected more than {self._rules.redirects} times")

    def _response(self, opened: "httpx.Client", url: "httpx.URL", hop: int, by_proxy: bool) -> "httpx.Response":
        """Ask an address of the host after the other, of the first few that may be connected to."""
        http, host, port = http_library(), url.raw_host.decode(), url.port or _PORTS[url.scheme]
        headers = {**_HEADERS, "Host": url.netloc.decode()}
        seconds = http.Timeout(self._rules.seconds).as_dict()
        extensions = {"timeout": seconds, "sni_hostname": host}
        addresses = self._addresses(host, port, hop, by_proxy)[:_ADDRESSES]
        for address in addresses:
            place = url.copy_with(host=address, userinfo=b"")
            request = http.Request("GET", place, headers=headers, extensions=extensions)
            try:
                response = self._ending.send(opened, request)
            except (http.ConnectError, http.ConnectTimeout) as error:
                failure = error
                continue
            self._first = self._first or (address, port)
            return response
        raise failure

    def _addresses(self, host: str, port: int, hop: int, by_proxy: bool) -> list[str]:
        """Where to connect: the addresses of a host that are permitted, or its name, which a proxy looks up again.

        Raises:
            FetchError: none is permitted; or the host is private as this machine sees it, and was not typed.
        """
        if by_proxy and hop == 0 and self._rules.trusts_first:
            return [host]
        try:
            found = [str(each[4][0]) for each in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
        except OSError:
            if by_proxy:  # only the proxy knows names
                return [host]
            raise
        barred = [address for address in found if not self._allows(address, port, hop)]
        if (by_proxy and barred) or len(barred) == len(found):
            where = host if host in found else f"{host}, which is {barred[0] if barred else 'none'}"
            raise FetchError("address", f"{self._url} leads to {where}: this is not a public address")
        return [host] if by_proxy else [address for address in found if address not in barred]

    def _allows(self, address: str, port: int, hop: int) -> bool:
        is_trusted = self._rules.trusts_first and (hop == 0 or (address, port) == self._first)
        return is_trusted or self._rules.permits(ip_address(address))

    def _body(self, response: "httpx.Response") -> bytes:
        status, headers = response.status_code, response.headers
        if status != 200:
            message = f"{self._url} answers {status} {plain(response.reason_phrase)}".rstrip()
            raise FetchError("status", message, status, seconds_asked(headers) or 0.0)
        content = within_bytes(response.iter_raw(), self._rules.max_bytes, self._on_bytes)
        if self._ending.has_ended:
            raise OSError("aborted")
        return content
