"""Which addresses are of the public internet, and which of this machine."""

from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

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
