"""In vLLM's process: what a chat endpoint needs is open, and nothing else.

vLLM's other routes take the same requests without the key (/invocations), abort requests of others, or
change how many copies of the model there are (/scale_elastic_ep).
"""

import importlib
import json
import os

from virc.engines.vllm.published import App, Message, Receive, Send

OPEN = frozenset(
    {
        *(("GET", path) for path in ("/health", "/metrics", "/version", "/v1/models")),
        *(("POST", path) for path in ("/v1/chat/completions", "/v1/completions")),
    }
)
"""Methods and paths that are answered."""


class Gate:
    """ASGI middleware (asgiref, Applications): 404 for every route but those of `OPEN`; no websockets.

    It also brings vLLM the connector that `VLLM_MEDIA_CONNECTOR` names by its module: without one imported in the
    process that reads requests, vLLM answers none that holds media.
    """

    def __init__(self, app: App) -> None:
        self._app = app
        if connector := os.environ.get("VLLM_MEDIA_CONNECTOR"):
            importlib.import_module(connector)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer a request, or let the app answer it."""
        if scope["type"] == "lifespan" or (scope.get("method"), scope.get("path")) in OPEN:
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await _not_found(send, f"{scope['method']} {scope['path']}"[:200])
        else:
            await send({"type": "websocket.close"})


async def _not_found(send: Send, route: str) -> None:
    error = {"message": f"there is no {route}", "type": "invalid_request_error", "param": None, "code": None}
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 404, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps({"error": error}).encode()})
