"""OpenAI-compatible endpoints for a model: by vLLM, by transformers, or an agent that runs the tool loop."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from virc.serving.start import Server, serve

__all__ = ["Server", "serve"]


def __getattr__(name: str) -> Any:
    """Import `Server` and `serve` on use: the MCP server, which clients wait for at its start, needs none of it."""
    if name in __all__:
        from virc.serving import start

        return getattr(start, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
