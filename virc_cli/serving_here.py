"""Serves a model in this process."""

import os
from typing import TYPE_CHECKING

from PIL import Image

from virc.backends.interface import Sampling
from virc.core.errors import SetupError
from virc.models.registry import Weights
from virc.reasoning.images import show
from virc.reasoning.session import Ask, Message
from virc.serving import settings as serve
from virc.serving.settings import Config
from virc_cli.console import endpoint, output

if TYPE_CHECKING:
    from virc.backends.local import LocalBackend

_CONNECTIONS = 256
_GRACE = 5  # seconds that replies may still take when the server is to end


def run(config: Config, weights: Weights, published: str, as_json: bool) -> None:
    """Load a model, and serve it until it is interrupted.

    Args:
        published: what clients are told of it, as JSON.

    Raises:
        ConfigError: the port is in use, or the model cannot be loaded.
        SetupError: an extra is missing, or device or memory do not do.
        KeyboardInterrupt: it was asked to end, and has ended.
    """
    try:
        import uvicorn

        from virc.serving import transformers_server
    except ImportError as error:
        message = f"--engine transformers needs fastapi and uvicorn: {error}"
        raise SetupError(message, "pip install 'virc[local,serve]'") from None
    import msgspec

    with endpoint.taken(config) as place:
        backend = loaded(config, weights)
        name = serve.served_name(config, weights)
        told = msgspec.json.decode(published)
        app = transformers_server.app(
            transformers_server.Served(backend, name, told, config.images, config.api_key)
        )
        place.listen(_CONNECTIONS)
        endpoint.announce(config, name, None, as_json)
        # what goes wrong with a request is told to its client
        level = "error" if os.environ.get("VIRC_DEBUG") else "critical"
        uvicorn.Server(
            uvicorn.Config(
                app, lifespan="off", ws="none", access_log=False, log_level=level, server_header=False,
                limit_concurrency=_CONNECTIONS, timeout_graceful_shutdown=_GRACE,
            )
        ).run([place])  # fmt: skip


def loaded(config: Config, weights: Weights) -> "LocalBackend":
    """A model in this process that has given a first answer.

    Raises:
        ConfigError: it cannot be loaded.
        SetupError: an extra is missing, or device or memory do not do.
    """
    from virc.backends.local import load

    dtype = None if config.dtype == "auto" else config.dtype
    backend = load(weights.folder, config.device, dtype, adapter=weights.adapter, context=config.context)
    for warning in backend.warnings:
        output.warn(warning)
    _answer(backend)
    return backend


def show_plan(config: Config, weights: Weights, published: str, as_json: bool) -> None:
    """Print what would be served."""
    name, address = serve.served_name(config, weights), endpoint.url(config)
    if as_json:
        output.emit(
            {
                "schema": "virc.serve.plan/1", "engine": "transformers", "command": None, "environment": {},
                "files": {}, "error": None,
            }
        )  # fmt: skip
        return
    output.line("# no command: served in this process by transformers, one request at a time")
    output.line(f"{name}={weights.adapter or weights.folder}")
    output.line(f"url={address}")
    output.line(f"\n# told to clients\n{published}")


def _answer(backend: "LocalBackend") -> None:
    """One token about a white picture: a server is ready when its model has answered, not before."""
    white = show(Image.new("RGB", (56, 56), "white"), backend.grid)
    backend.reply(Ask((Message("user", "What is this?", (0,)),), (white,)), Sampling(max_tokens=1))
