"""The HTTP library of all clients here, and a client for downloads."""

import importlib
import os
import ssl
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from virc.core.errors import ConfigError
from virc.core.text import clause, plain

if TYPE_CHECKING:
    import httpx2 as httpx

_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


def http_library() -> Any:
    """The HTTP library that huggingface-hub brings: httpx2, or httpx before its version 2."""
    try:
        return importlib.import_module("httpx2")
    except ModuleNotFoundError:
        return importlib.import_module("httpx")


def certificates(url: str) -> ssl.SSLContext:
    """Those that are trusted; none without TLS, as to read them takes longer than a short answer."""
    if not url.startswith("https:"):
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusted: ssl.SSLContext = http_library().create_ssl_context()
    return trusted


class Answer(NamedTuple):
    """The status and the content of an answer, also of an error."""

    status: int
    content: bytes


def ask(
    url: str,
    body: object = None,
    headers: Mapping[str, str] = {},
    *,
    seconds: float,
    max_bytes: int = 2**20,
    proxies: bool = False,
    redirects: bool = True,
) -> Answer:
    """Return the answer to one request, a POST of `body` as JSON or else a GET.

    Args:
        seconds: longest wait for a connection, and for the next byte.
        proxies: use those of the environment; a server of this machine or of a cluster is asked without.
        redirects: follow them, to other machines too.

    Raises:
        OSError: nothing answers, or not over HTTP.
        ValueError: the address is none, or the answer has over `max_bytes`.
    """
    http = http_library()
    settings = {"trust_env": proxies, "verify": certificates(url), "timeout": seconds, "follow_redirects": redirects}
    method, content = ("GET" if body is None else "POST"), bytearray()
    try:
        with http.Client(**settings) as client, client.stream(method, url, json=body, headers=headers) as response:
            for piece in response.iter_bytes():
                content += piece
                if len(content) > max_bytes:
                    raise ValueError(f"its answer is over {max_bytes >> 20} MiB")
            return Answer(response.status_code, bytes(content))
    except http.InvalidURL as error:
        raise ValueError(clause(error)) from None
    except http.HTTPError as error:
        raise ConnectionError(clause(error)) from None


class Downloads:
    """A client for GET requests that threads share; it follows redirects.

    The library sends `Authorization` to the origin of the first address alone, and follows http and https alone.
    """

    def __init__(self) -> None:
        http = http_library()
        try:
            self._client: httpx.Client = http.Client(
                follow_redirects=True, max_redirects=10, limits=http.Limits(max_connections=None)
            )
        except (ImportError, ValueError, http.InvalidURL) as error:  # each of a proxy
            raise proxy_error(error) from None

    def get(self, url: str, headers: Mapping[str, str], seconds: float) -> "httpx.Response":
        """Ask once. Close the response; its content is what the server sends, never compressed on the way."""
        plain = {**headers, "Accept-Encoding": "identity"}
        return self._client.send(self._client.build_request("GET", url, headers=plain, timeout=seconds), stream=True)


def proxy_of(url: str) -> tuple[str, str] | None:
    """Return the proxy on the way to an address: the scheme it is set for, and its host and port, no password."""
    from urllib.parse import urlsplit
    from urllib.request import getproxies, proxy_bypass

    parts, proxies = urlsplit(url), getproxies()
    scheme = next((scheme for scheme in (parts.scheme, "all") if proxies.get(scheme)), None)
    if scheme is None or proxy_bypass(parts.hostname or ""):
        return None
    return scheme, plain(urlsplit(proxies[scheme]).netloc.rpartition("@")[2], 100)


def proxy_error(error: Exception) -> ConfigError:
    """The sentence for a proxy that cannot be used; it quotes no address, which may hold a password."""
    names = ", ".join(sorted(name for name in os.environ if name.lower() in _PROXIES)) or "the settings of this system"
    if isinstance(error, ImportError):
        hint = "python -m pip install socksio, or set another proxy"
        return ConfigError(f"the SOCKS proxy of {names} needs the package socksio", hint)
    return ConfigError(f"a proxy of {names} has no address that can be used", "like http://HOST:3128, or unset it")
