"""Which requests a server on this machine refuses because of where they come from, or for want of a key."""

import hmac
from collections.abc import Mapping, Sequence
from contextlib import suppress
from urllib.parse import urlsplit

from virc.core.http.addresses import is_loopback


def refusal(headers: Mapping[str, str], here: str, has_key: bool) -> str | None:
    """Why a request may not be answered that a browser sends for a page of another site; None: it may.

    The page may reach this machine where its author does not. Browsers send that in `Sec-Fetch-Site`, to sites that
    they trust, or in `Origin`. A page whose name was made to lead here (DNS rebinding) is known by that name; with a
    key, no such page has it.

    Args:
        headers: of the request, by names in lower case.
        here: the address at which it came in.
        has_key: requests need a key.
    """
    origin, host = headers.get("origin"), headers.get("host", "")
    foreign = headers.get("sec-fetch-site") in ("cross-site", "same-site")
    if foreign or (origin is not None and _place(origin) != _place(f"//{host}")):
        return "a page of another site may not ask this server"
    name = ""
    with suppress(ValueError):
        name = urlsplit(f"//{host}").hostname or ""
    if not has_key and is_loopback(here) and not is_loopback(name):
        return "without an API key this server answers requests to localhost only"
    return None


def key_among(authorization: str, keys: str | Sequence[str] | None) -> int | None:
    """The number of a request's key among those that are known; None: it has none of them."""
    scheme, _, given = authorization.partition(" ")
    sent = given.strip().encode("latin-1")  # headers are decoded so
    same = [hmac.compare_digest(sent, key.encode()) for key in ((keys,) if isinstance(keys, str) else keys or ())]
    return same.index(True) if any(same) and scheme.lower() == "bearer" else None


def _place(url: str) -> str:
    return url.partition("//")[2].lower()
