"""Answers on their way: from the arrival of a request until its client has taken all."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Any

from fastapi import Request, Response
from fastapi.responses import StreamingResponse
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from virc.serving import chat_http
from virc.serving.agent.request_queue import LeftError, Reservation
from virc.serving.chat_request import RefusedError


async def placed(
    request: Request,
    answered: Callable[[Request, Reservation], Awaitable[Response]],
    failure: Callable[[Exception], RefusedError],
) -> Response:
    """Return the answer to a request; an error ends its reservation."""
    hold: Reservation = request.app.state.queue.reserve()
    try:
        return await answered(request, hold)
    except BaseException as error:
        hold.end()
        if isinstance(error, ClientDisconnect | LeftError):
            return chat_http.NOBODY
        if isinstance(error, Exception):
            raise failure(error) from None
        raise


class Delivery(StreamingResponse):
    """An answer on its way; when its client has taken all, or left, `content` is closed and `hold` ended."""

    def __init__(self, content: AsyncGenerator[bytes, None], hold: Reservation, **words: Any) -> None:
        super().__init__(content, **words)
        self._content, self._hold = content, hold

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._hold.end()
            await self._content.aclose()


def whole(content: bytes, hold: Reservation, headers: Mapping[str, str]) -> Delivery:
    async def pieces() -> AsyncGenerator[bytes, None]:
        yield content

    sized = {"Content-Length": str(len(content)), **headers}
    return Delivery(pieces(), hold, headers=sized, media_type="application/json")
