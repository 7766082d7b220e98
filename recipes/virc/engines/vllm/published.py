"""In vLLM's process: /v1/models also says the chat protocol that the model was trained with, and its image sizes."""

import json
import os
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]


class Published:
    """ASGI middleware (asgiref, Applications): adds what `VIRC_PUBLISHED` holds to each model of /v1/models."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._published = json.loads(Path(os.environ["VIRC_PUBLISHED"]).read_bytes())

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer a request."""
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
