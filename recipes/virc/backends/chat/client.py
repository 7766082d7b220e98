"""The address of an endpoint, the headers that are set for it, and its HTTP client."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from virc.config.user import names_user
from virc.core.errors import ConfigError
from virc.core.text import clause, plain
from virc.core.web.client import http_library, open_client

if TYPE_CHECKING:
    import httpx2 as httpx

_CONNECT_SECONDS = 5.0


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

    It may be silent for `timeout` seconds. Raises ConfigError: the address is none; or as `open_client`.
    """
    http = http_library()
    try:
        url = http.URL(endpoint.strip())
    except http.InvalidURL as error:
        raise _no_address(endpoint, f": {clause(error)}") from None
    seconds = http.Timeout(timeout, connect=min(_CONNECT_SECONDS, timeout))
    return open_client(str(url), headers, seconds), url  # no redirects: pictures go to the endpoint that was named


def _no_address(endpoint: str, reason: str = "") -> ConfigError:
    hint = "like --endpoint http://localhost:8000/v1"
    return ConfigError(f"{plain(endpoint, 100)!r} is no address of an endpoint{reason}", hint)
