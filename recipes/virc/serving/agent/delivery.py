"""Answers on their way: from the place of a request until its client has taken all."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

from fastapi import Request, Response
from fastapi.responses import StreamingResponse
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from virc.core.timeouts import Deadline
from virc.serving import chat_http
from virc.serving.agent import connections
from virc.serving.agent.request_queue import LeftError, Reservation
from virc.serving.chat_request import RefusedError

_PIECE = 2**16  # bytes


async def placed(
    request: Request,
    answered: Callable[[Request, Reservation], Awaitable[Response]],
    failure: Callable[[Exception], RefusedError],
) -> Response:
    """Return the answer to a request that gets a place of its client; an error frees the place."""
    hold: Reservation = request.app.state.queue.place(connections.client_of(request))
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
    """An answer on its way, in pieces: it ends when its client has taken all, or has had its time.

    At the end `content` is closed and `hold` ended; the client has `connections.PATIENCE` seconds after `deadline`.
    """

    def __init__(
        self, content: AsyncGenerator[bytes, None], hold: Reservation, deadline: Deadline, **words: Any
    ) -> None:
        super().__init__(_pieces(content), **words)
        self._content, self._hold, self._deadline = content, hold, deadline

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        left = self._deadline.left()
        try:
            with suppress(TimeoutError):  # the connection is closed, since the answer is not complete
                async with asyncio.timeout(None if left is None else left + connections.PATIENCE):
                    await super().__call__(scope, receive, send)
        finally:
            self._hold.end()
            await self._content.aclose()


async def _pieces(content: AsyncGenerator[bytes, None]) -> AsyncIterator[bytes]:
    """What is sent is taken piece by piece: a client that is slow is seen to come on, and the empty one is the last."""
    async for part in content:
        for start in range(0, len(part), _PIECE):
            yield part[start : start + _PIECE]
    yield b""


def whole(content: bytes, hold: Reservation, deadline: Deadline, headers: Mapping[str, str]) -> Delivery:
    async def pieces() -> AsyncGenerator[bytes, None]:
        yield content

    sized = {"Content-Length": str(len(content)), **headers}
    return Delivery(pieces(), hold, deadline, headers=sized, media_type="application/json")
