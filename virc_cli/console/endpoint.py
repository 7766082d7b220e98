"""Where a server listens, and what is said when it answers."""

import errno
import socket
import sys

from virc.core.errors import ConfigError
from virc.core.text import clause
from virc.serving.settings import Config
from virc_cli.console import output

SCHEMA = "virc.serve/1"


def url(config: Config) -> str:
    """The address at which this machine reaches the server."""
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(
        config.host, f"[{config.host}]" if ":" in config.host else config.host
    )
    return f"http://{host}:{config.port}/v1"


def taken(config: Config) -> socket.socket:
    """The place to listen on, taken; nobody is listened to yet.

    Raises:
        ConfigError: somebody else listens there, or nobody could.
    """
    try:
        found = socket.getaddrinfo(config.host, config.port, type=socket.SOCK_STREAM)
        family, kind, protocol, _, address = found[0]
        place = socket.socket(family, kind, protocol)
    except OSError as error:
        raise ConfigError(f"cannot listen on {config.host}: {clause(error)}", "--host 127.0.0.1") from error
    try:
        if sys.platform != "win32":  # where it would let two servers share a port
            place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        place.bind(address)
    except OSError as error:
        place.close()
        if error.errno == errno.EADDRINUSE:
            raise ConfigError(
                f"port {config.port} of {config.host} is in use", f"--port {config.port % 65_535 + 1}"
            ) from error
        raise ConfigError(f"cannot listen on {config.host}: {clause(error)}", "--host 127.0.0.1") from error
    return place


def announce(config: Config, name: str, log: str | None, as_json: bool, looks: bool = False) -> None:
    """Say that the model answers, and where.

    Args:
        log: the file that the engine writes to.
        looks: whether it looks for itself, so that any client will do.
    """
    address = url(config)
    if as_json:
        output.emit({"schema": SCHEMA, "url": address, "model": name, "log": log, "error": None})
        return
    output.line(address)
    how = (
        f"Any OpenAI client asks it; a page is at {address.removesuffix('v1')}"
        if looks
        else f"VIRC_ENDPOINT={address} virc solve picture.png 'question'"
    )
    output.note(f"{name} answers; Ctrl-C ends it. {how}")
