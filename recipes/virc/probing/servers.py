"""Model servers that answer on this machine, on the ports that they usually listen on."""

import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import msgspec

from virc.backends.chat.errors import WireError
from virc.backends.chat.listing import read_models
from virc.backends.chat.providers import PROVIDERS
from virc.core.http import client
from virc.core.text import plain
from virc.core.timeouts import LateError, within

PORTS = {
    1234: "LM Studio",
    4000: "LiteLLM",
    8000: "vLLM, virc serve",
    8080: "llama.cpp, MLX-VLM",
    11434: "Ollama",
    23333: "LMDeploy",
    30000: "SGLang",
}
"""Port -> server that listens there by default."""

_SECONDS = 0.5
_MAX_BYTES = 2**20


class LocalServer(msgspec.Struct, frozen=True):
    """A server that lists models: its address up to and with /v1, its name, and the first few models."""

    endpoint: str
    server: str
    models: tuple[str, ...]


def local_servers(ports: Iterable[int] | None = None) -> list[LocalServer]:
    """The servers of this machine's loopback that list models, in the order of the ports; half a second at most."""
    ports = tuple(PORTS if ports is None else ports)
    with ThreadPoolExecutor(len(ports) or 1) as pool:
        return [found for found in pool.map(_asked, ports) if found]


def _asked(port: int) -> LocalServer | None:
    def ask(_: object) -> client.Answer:
        url = f"http://127.0.0.1:{port}/v1/models"
        return client.ask(url, seconds=2 * _SECONDS, max_bytes=_MAX_BYTES, redirects=0)

    try:
        status, content = within(time.monotonic() + _SECONDS, ask)  # some servers trickle
        if status in (401, 403):
            return LocalServer(f"http://127.0.0.1:{port}/v1", f"{PORTS.get(port, 'a server')}, which wants a key", ())
        listed = read_models([content])
    except (OSError, ValueError, LateError, WireError):
        return None
    if not listed:
        return None
    known = PROVIDERS.get(listed[0].kind)
    server = known.name if known else PORTS.get(port, "a server")
    return LocalServer(f"http://127.0.0.1:{port}/v1", server, tuple(plain(each.id, 80) for each in listed[:8]))
