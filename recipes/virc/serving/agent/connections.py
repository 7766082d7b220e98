"""The HTTP server of an agent endpoint: it cuts clients that do not come on, and ends when all that run have ended."""

import asyncio
import time
from collections.abc import Callable
from types import FrameType

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from virc.serving.agent.desk import Desk

PATIENCE = 60.0
"""Seconds that a client may take to send the head of a request, or to take a piece of what is sent to it."""
GRACE = 30.0
"""Seconds that answers may still take when the server is to end."""
CONNECTIONS = 1024
"""Clients that are connected, and that wait to be, at a time."""
_FLUSH = 5  # seconds that connections get to close


class Patient(H11Protocol):
    """A connection that is cut when its client neither sends a request nor takes an answer."""

    _head: asyncio.TimerHandle | None = None
    _answer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has come."""
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=0)  # whatever is not taken counts
        self._await_head()

    def data_received(self, data: bytes) -> None:
        """It has sent something."""
        super().data_received(data)
        self._await_head()

    def on_response_complete(self) -> None:
        """It was answered."""
        super().on_response_complete()
        self._await_head()

    def pause_writing(self) -> None:
        """It does not take what is sent to it."""
        super().pause_writing()
        self._answer = self._answer or self.loop.call_later(PATIENCE, self.transport.abort)

    def resume_writing(self) -> None:
        """It has taken all."""
        super().resume_writing()
        self._answer = _stopped(self._answer)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        self._head, self._answer = _stopped(self._head), _stopped(self._answer)
        super().connection_lost(exc)

    def _await_head(self) -> None:
        """Wait for the head of a request where none is being answered."""
        if self.cycle and not self.cycle.response_complete:
            self._head = _stopped(self._head)
        elif not self.transport.is_closing():
            self._head = self._head or self.loop.call_later(PATIENCE, self.transport.abort)


def _stopped(timer: asyncio.TimerHandle | None) -> asyncio.TimerHandle | None:
    if timer:
        timer.cancel()
    return None


class Server(uvicorn.Server):
    """Serves until a signal: then the desk closes, and the server ends with the last delivery, or after `GRACE`.

    A second signal ends it at once.

    Args:
        config: of the app.
        ending: gets the number of answers that clients wait for.
    """

    def __init__(self, config: uvicorn.Config, desk: Desk, ending: Callable[[int], None]) -> None:
        super().__init__(config)
        self._desk, self._ending = desk, ending
        self._end: float | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A signal has come."""
        again = self._desk.closing
        self._desk.closing = True
        self._captured_signals.append(sig)
        if again:
            self.should_exit = self.force_exit = True
            return
        self._end = time.monotonic() + GRACE
        if self._desk.answers:
            self._ending(len(self._desk.answers))

    async def on_tick(self, counter: int) -> bool:
        """Whether to end now."""
        if self._end and (not self._desk.answers or time.monotonic() > self._end):
            self.should_exit = True
        return await super().on_tick(counter)


def server(made: FastAPI, ending: Callable[[int], None] = lambda _: None, level: str = "critical") -> Server:
    """A server for what `virc.serving.agent.server.app` made; `level` is of uvicorn's log, `ending` as in `Server`."""
    config = uvicorn.Config(
        made, lifespan="off", ws="none", http=Patient, access_log=False, log_level=level, server_header=False,
        limit_concurrency=CONNECTIONS, timeout_graceful_shutdown=_FLUSH,
    )  # fmt: skip
    return Server(config, made.state.desk, ending)
