"""The HTTP client of one endpoint: its address and certificates, the proxy on the way, and its key in printed texts."""

import html
import json
import os
import re
import socket
from collections.abc import Mapping
from contextlib import closing, suppress
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus, urlsplit

from virc.config.user import names_user
from virc.core.errors import ConfigError
from virc.core.text import clause, plain
from virc.core.web.client import certificates, http_library, proxy_error
from virc.core.web.fetch import is_loopback

if TYPE_CHECKING:
    import httpx2 as httpx

_CONNECT_SECONDS = 5.0
_MAX_IDLE = 100  # connections
_CERTIFICATES = ("SSL_CERT_FILE", "SSLKEYLOGFILE")  # files that must exist; a missing SSL_CERT_DIR is no error

_LONG = 16
"""Characters from which on a key is no part of a word of a language, and is hidden wherever it stands."""
_WORD = "[A-Za-z0-9]"


def printed(endpoint: str) -> str:
    """The endpoint as it may be printed: without query."""
    try:
        parts = urlsplit(endpoint.strip())
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if names_user(endpoint):
        raise ConfigError("the endpoint's address must hold no user and password", "export VIRC_API_KEY=...")
    if not host or parts.scheme not in {"http", "https"} or not re.fullmatch(r"[!-~]+", endpoint.strip()):
        raise _no_address(endpoint)
    place = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{place}{f':{port}' if port else ''}{parts.path.rstrip('/')}"


def own_headers(text: str) -> dict[str, str]:
    """Read headers that are set for an endpoint, one a line; an error quotes none."""
    lines = [line.partition(":") for line in text.splitlines() if line.strip()]
    found = {name.strip().title(): value.strip() for name, _, value in lines}
    if not all(re.fullmatch(r"[\w-]+", name) and re.fullmatch(r"[ -~]+", value) for name, value in found.items()):
        raise ConfigError("VIRC_HEADERS must hold NAME: VALUE, one a line", "export VIRC_HEADERS='api-key: ...'")
    return found


def client(endpoint: str, headers: Mapping[str, str], timeout: float) -> "tuple[httpx.Client, httpx.URL]":
    """A client for an endpoint of which threads may share the connections, and the endpoint's address in its library.

    A server of this machine is asked without a proxy, which would ask another machine. It may be silent for `timeout`
    seconds.

    Raises:
        ConfigError: the address, or what the environment says of proxies and certificates, cannot be used.
    """
    http = http_library()
    try:
        url = http.URL(endpoint.strip())
    except http.InvalidURL as error:
        raise _no_address(endpoint, f": {clause(error)}") from None
    try:
        trusted = certificates(str(url))
    except OSError as error:
        names = [f"{name}={plain(os.environ[name], 100)}" for name in _CERTIFICATES if os.environ.get(name)]
        hint = f"correct or unset {', '.join(names)}" if names else "python -m pip install --force-reinstall certifi"
        raise ConfigError(f"the certificates for https cannot be read: {clause(error)}", hint) from None
    try:
        made = http.Client(
            headers=headers,
            timeout=http.Timeout(timeout, connect=min(_CONNECT_SECONDS, timeout)),
            limits=http.Limits(max_connections=None, max_keepalive_connections=_MAX_IDLE),
            # Pictures go to the endpoint that was named and to no other.
            follow_redirects=False,
            verify=trusted,
            trust_env=not is_loopback(url.host),
        )
    except (ImportError, ValueError, http.InvalidURL) as error:  # each of a proxy
        raise proxy_error(error) from None
    return made, url


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


def _no_address(endpoint: str, reason: str = "") -> ConfigError:
    hint = "like --endpoint http://localhost:8000/v1"
    return ConfigError(f"{plain(endpoint, 100)!r} is no address of an endpoint{reason}", hint)


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
