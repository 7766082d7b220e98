"""The client of every request over HTTP: certificates, proxies, bytes of an answer, an end from another thread, and
keys that no printed text holds.
"""

import html
import importlib
import json
import os
import re
import socket
import ssl
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing, suppress
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, quote_plus, urlsplit
from urllib.request import getproxies, proxy_bypass

from virc.core.errors import ConfigError
from virc.core.text import clause, plain
from virc.core.web.addresses import is_loopback

if TYPE_CHECKING:
    import httpx2 as httpx

_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
_CERTIFICATES = ("SSL_CERT_FILE", "SSLKEYLOGFILE")  # files that must exist; a missing SSL_CERT_DIR is no error
IDENTITY = {"User-Agent": "virc", "Accept-Encoding": "identity"}
"""Headers of a request whose answer is bounded: a compressed one would be bounded only after it was unpacked."""

_LONG = 16
"""Characters from which on a key is no part of a word of a language, and is hidden wherever it stands."""
_WORD = "[A-Za-z0-9]"


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


def open_client(
    url: str,
    headers: Mapping[str, str] = {},
    seconds: Any = None,
    *,
    redirects: int = 0,
    proxies: bool = True,
    proxy: str | None = None,
    tls: ssl.SSLContext | None = None,
    idle: float = 5.0,
) -> "httpx.Client":
    """A client for the server of a URL, of which threads may share the connections.

    A server of this machine is asked without a proxy, which would ask another machine. The library sends
    `Authorization` to the origin of the first address alone, and follows http and https alone.

    Args:
        url: of the server; `https:` stands for several.
        seconds: longest wait for a connection, and for the next byte, as the library has it; None: for ever.
        redirects: how many are followed, to other machines too.
        proxies: use those of the environment.
        proxy: URL of the only one, in their place.
        tls: how servers prove who they are; None: by the library's certificates, or those that the environment names.
        idle: seconds for which a connection is kept open.

    Raises:
        ConfigError: what the environment says of proxies or certificates cannot be used.
    """
    http, is_here = http_library(), is_loopback(urlsplit(url).hostname or "")
    try:
        trusted = tls or certificates(url)
    except OSError as error:
        names = [f"{name}={plain(os.environ[name], 100)}" for name in _CERTIFICATES if os.environ.get(name)]
        hint = f"correct or unset {', '.join(names)}" if names else "python -m pip install --force-reinstall certifi"
        raise ConfigError(f"the certificates for https cannot be read: {clause(error)}", hint) from None
    try:
        made: httpx.Client = http.Client(
            headers=headers,
            timeout=seconds,
            limits=http.Limits(max_connections=None, keepalive_expiry=idle),
            follow_redirects=redirects > 0,
            max_redirects=redirects,
            verify=trusted,
            trust_env=proxies and not is_here,
            proxy=proxy,
        )
    except (ImportError, ValueError, http.InvalidURL) as error:  # each of a proxy
        raise proxy_error(error) from None
    return made


class TooLargeError(ValueError):
    """An answer has more bytes than were to be read."""


def within_bytes(pieces: Iterable[bytes], max_bytes: int, on_bytes: Callable[[int], object] = lambda _: None) -> bytes:
    """Join the pieces of an answer; `on_bytes` gets the size of each. Raises TooLargeError."""
    content = bytearray()
    for piece in pieces:
        on_bytes(len(piece))
        content += piece
        if len(content) > max_bytes:
            raise TooLargeError(f"its answer is over {max_bytes >> 20} MiB")
    return bytes(content)


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
    redirects: int = 20,
) -> Answer:
    """Return the answer to one request, a POST of `body` as JSON or else a GET; further arguments as of `open_client`.

    Raises:
        OSError: nothing answers, or not over HTTP.
        ValueError: the address is none, or the answer has over `max_bytes`.
    """
    http = http_library()
    method = "GET" if body is None else "POST"
    try:
        with (
            open_client(url, {**IDENTITY, **headers}, seconds, redirects=redirects, proxies=proxies) as client,
            client.stream(method, url, json=body) as response,
        ):
            return Answer(response.status_code, within_bytes(response.iter_raw(), max_bytes))
    except http.InvalidURL as error:
        raise ValueError(clause(error)) from None
    except http.HTTPError as error:
        raise ConnectionError(clause(error)) from None


def shut_down(used: "httpx.Client", request: "httpx.Request") -> None:
    """Shut down the connection on which another thread waits for the answer to a request.

    Until the headers are there, the library tells the connection of a request to nobody: its own attributes are read.
    """
    with suppress(AttributeError, OSError):  # no connection yet, or no more, or a library of another build
        library: Any = used
        waiting = [*library._transport_for_url(request.url)._pool._requests]
        connection: Any = None
        for each in waiting:
            if each.request.extensions is request.extensions:
                connection = each.connection
        while hasattr(connection, "_connection"):  # that of a proxy, and that of its origin
            connection = connection._connection
        if connection:
            used_by_tls = connection._network_stream.get_extra_info("socket")  # which forgets its state, if shut down
            with closing(socket.fromfd(used_by_tls.fileno(), used_by_tls.family, used_by_tls.type)) as own:
                own.shutdown(socket.SHUT_RDWR)


def sends_unless(has_ended: Callable[[], bool], error: Callable[[], Exception]) -> Callable[[str, object], None]:
    """Return a `trace` callback of the HTTP library that stops a request before it is sent.

    The library calls it at each step of a request, and connects first: the caller may have given up by then.

    Args:
        has_ended: returns whether the caller no longer waits for the answer.
        error: makes the exception that is raised then.
    """

    def trace(step: str, _info: object) -> None:
        if step.endswith("send_request_headers.started") and has_ended():
            raise error()

    return trace


def proxy_address(url: str) -> tuple[str, str] | None:
    """Return the proxy on the way to an address: the scheme it is set for, and its URL, which may hold a password."""
    parts, proxies = urlsplit(url), getproxies()
    scheme = next((scheme for scheme in (parts.scheme, "all") if proxies.get(scheme)), None)
    if scheme is None or proxy_bypass(parts.hostname or ""):
        return None
    return scheme, proxies[scheme] if "//" in proxies[scheme] else f"http://{proxies[scheme]}"


def proxy_of(url: str) -> tuple[str, str] | None:
    """Return the proxy on the way to an address: the scheme it is set for, and its host and port, no password."""
    found = proxy_address(url)
    return (found[0], plain(urlsplit(found[1]).netloc.rpartition("@")[2], 100)) if found else None


def proxy_error(error: Exception) -> ConfigError:
    """The sentence for a proxy that cannot be used; it quotes no address, which may hold a password."""
    names = ", ".join(sorted(name for name in os.environ if name.lower() in _PROXIES)) or "the settings of this system"
    if isinstance(error, ImportError):
        hint = "python -m pip install socksio, or set another proxy"
        return ConfigError(f"the SOCKS proxy of {names} needs the package socksio", hint)
    return ConfigError(f"a proxy of {names} has no address that can be used", "like http://HOST:3128, or unset it")


def hidden(text: str, key: str) -> str:
    """The text without the key: `***` stands for it, also if it is escaped as in a URL, in JSON or in HTML.

    A short key is hidden as a whole word alone: the key `a` or `sk` stands in many words.
    """
    return _pattern_of(key).sub("***", text) if key else text


@cache
def _pattern_of(key: str) -> re.Pattern[str]:
    escaped = {key, quote(key, safe=""), quote(key), quote_plus(key), json.dumps(key)[1:-1], html.escape(key)}
    escaped |= {each.replace("/", "\\/") for each in escaped}
    # Servers differ in how they write the digits of an escape: %2f is %2F.
    ways = sorted((re.sub("%[0-9A-F]{2}", lambda found: f"(?i:{found[0]})", re.escape(each)) for each in escaped),
                  key=len, reverse=True)  # fmt: skip
    either = "|".join(ways)
    if len(key) >= _LONG:
        return re.compile(either)
    before = rf"(?<!{_WORD})(?<!{_WORD}[-_.])" if re.match(_WORD, key[0]) else ""
    after = rf"(?!{_WORD})(?![-_.]{_WORD})" if re.match(_WORD, key[-1]) else ""
    return re.compile(f"{before}(?:{either}){after}")
