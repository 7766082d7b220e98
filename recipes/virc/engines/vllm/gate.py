"""In vLLM's process: what a chat endpoint needs is open, and nothing else; /v1/models says more.

vLLM's other routes take the same requests without the key (/invocations), abort requests of others, or
change how many copies of the model there are (/scale_elastic_ep). Pages of other sites are refused as elsewhere.
"""

import importlib
import json
import os
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

from virc.core.web import site

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]
OPEN = frozenset(
    {
        *(("GET", path) for path in ("/health", "/metrics", "/version", "/v1/models")),
        *(("POST", path) for path in ("/v1/chat/completions", "/v1/completions")),
    }
)
"""Methods and paths that are answered."""


class Gate:
    """ASGI middleware (asgiref, Applications): 404 for every route but those of `OPEN`; no websockets.

    A request that `site.refusal` refuses gets 403. It also brings vLLM the connector that `VLLM_MEDIA_CONNECTOR` names
    by its module: without one imported in the process that reads requests, vLLM answers none that holds media.
    """

    def __init__(self, app: App) -> None:
        self._app = app
        if connector := os.environ.get("VLLM_MEDIA_CONNECTOR"):
            importlib.import_module(connector)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] != "http":
            await send({"type": "websocket.close"})
        elif (scope["method"], scope["path"]) not in OPEN:
            await _refuse(send, 404, f"there is no {scope['method']} {scope['path']}"[:200])
        elif reason := _refusal(scope):
            await _refuse(send, 403, reason)
        else:
            await self._app(scope, receive, send)


class Published:
    """ASGI middleware: adds what `VIRC_PUBLISHED` holds, chat protocol and image sizes, to each model of /v1/models."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._published = json.loads(Path(os.environ["VIRC_PUBLISHED"]).read_bytes())

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != "/v1/models":
            await self._app(scope, receive, send)
            return
        messages: list[Message] = []

        async def keep(message: Message) -> None:
            messages.append(message)

        await self._app(scope, receive, keep)
        for message in self._published_in(messages):
            await send(message)

    def _published_in(self, messages: list[Message]) -> list[Message]:
        start = messages[0]
        body = b"".join(message.get("body", b"") for message in messages[1:])
        if start["status"] == 200:
            content = json.loads(body)
            content["data"] = [{**model, **self._published} for model in content["data"]]
            body = json.dumps(content).encode()
        headers = [(name, value) for name, value in start["headers"] if name.lower() != b"content-length"]
        headers.append((b"content-length", str(len(body)).encode()))
        return [{**start, "headers": headers}, {"type": "http.response.body", "body": body}]


def _refusal(scope: Message) -> str | None:
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
    return site.refusal(headers, scope["server"][0], bool(os.environ.get("VLLM_API_KEY")))


async def _refuse(send: Send, status: int, message: str) -> None:
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": None}
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps({"error": error}).encode()})
