"""Where a server listens."""

import errno
import socket
import sys

from virc.core.errors import ConfigError
from virc.core.text import clause
from virc.stages.serve import Config


def url(config: Config) -> str:
    """The address at which this machine reaches the server, up to and with `/v1`."""
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(
        config.host, f"[{config.host}]" if ":" in config.host else config.host
    )
    return f"http://{host}:{config.port}/v1"


def free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port: int = bound.getsockname()[1]
        return port


def bound_socket(config: Config) -> socket.socket:
    bound = None
    try:
        found = socket.getaddrinfo(config.host, config.port, type=socket.SOCK_STREAM)
        family, kind, protocol, _, address = found[0]
        bound = socket.socket(family, kind, protocol)
        if sys.platform != "win32":  # where it would let two servers share a port
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError as error:
        if bound:
            bound.close()
        if error.errno == errno.EADDRINUSE:
            other = f"«--port {config.port % 65_535 + 1}»"
            raise ConfigError(f"port {config.port} of {config.host} is in use", other) from error
        raise ConfigError(f"cannot listen on {config.host}: {clause(error)}", "«--host 127.0.0.1»") from error
    return bound
