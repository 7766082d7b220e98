"""The client of every request over HTTP: certificates, proxies, and keys that no printed text holds."""

import html
import json
import os
import re
import ssl
from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, quote_plus, urlsplit
from urllib.request import getproxies, proxy_bypass

from virc.core.errors import ConfigError
from virc.core.http.addresses import is_loopback
from virc.core.http.body import within_bytes
from virc.core.http.library import http_library
from virc.core.text import clause, plain
from virc.core.work import forks

if TYPE_CHECKING:
    import httpx2 as httpx

_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
_CERTIFICATES = ("SSL_CERT_FILE", "SSLKEYLOGFILE")  # files that must exist; a missing SSL_CERT_DIR is no error
IDENTITY = {"User-Agent": "virc", "Accept-Encoding": "identity"}
"""Headers of a request whose answer is bounded: a compressed one would be bounded only after it was unpacked."""
_LONG = 16
"""Characters from which on a key is no part of a word of a language, and is hidden wherever it stands."""
_WORD = "[A-Za-z0-9]"


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
    try:  # without TLS none are read, which would take longer than a short answer
        trusted = tls or (
            http.create_ssl_context() if url.startswith("https:") else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        )
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
        raise _proxy_error(error) from None
    return made


class OwnClient:
    """A client, opened at the first use, and anew in a forked child: on its parent's connections come others' answers.

    Args:
        open_one: opens it.
    """

    def __init__(self, open_one: Callable[[], "httpx.Client"]) -> None:
        self._open_one = open_one
        self._forget()
        forks.renew_in_child(self._forget)

    def _forget(self) -> None:
        self._opened: httpx.Client | None = None

    def __call__(self) -> "httpx.Client":
        self._opened = self._opened or self._open_one()
        return self._opened

    def close(self) -> None:
        if self._opened:
            self._opened.close()


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


def _proxy_error(error: Exception) -> ConfigError:
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
