"""uvicorn for our apps: it ends with its last answer. Clients that are slow are left to a proxy in front of it."""

import asyncio
import os
import socket
import time
from types import FrameType
from typing import TYPE_CHECKING, Any

import uvicorn
from fastapi import FastAPI

from virc.core.events import Reporter
from virc.serving.connections import MAX_CONNECTIONS, NEXT_HEAD, Connections

if TYPE_CHECKING:
    from virc.serving.agent.request_queue import RequestQueue

GRACE = 30.0
"""Seconds that answers may still take when the server is to end."""
_FLUSH = 5  # seconds that connections get to close
_LAST_STEP = 5.0  # seconds that a step of a model may still take at the end


class BareServer(uvicorn.Server):
    """Serves an ASGI app, whose connections are bounded; `level` is of uvicorn's log, `changes` are of its settings."""

    def __init__(self, app: Any, report: Reporter, level: str = "critical", **changes: Any) -> None:
        self._connections = Connections(report)
        made: Any = self._connections.connection
        super().__init__(uvicorn.Config(
            app, http=made, loop="asyncio", ws="none", access_log=False, log_level=level, server_header=False,
            proxy_headers=False, timeout_keep_alive=NEXT_HEAD, backlog=MAX_CONNECTIONS,
            **{"lifespan": "off", "timeout_graceful_shutdown": _FLUSH, **changes},
        ))  # fmt: skip

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        asyncio.get_running_loop().set_exception_handler(self._connections.on_fault)
        await super().startup(sockets)


class Server(BareServer):
    """Serves an app until a signal: then its queue closes, and it ends with the last delivery, or after `GRACE`.

    A second signal ends it at once.

    Args:
        app: `state.queue` is its `RequestQueue`.
        report: gets how many answers the end waits for.
    """

    def __init__(self, app: FastAPI, report: Reporter) -> None:
        # what goes wrong with a request is sent to its client
        super().__init__(app, report, "error" if os.environ.get("VIRC_DEBUG") else "critical")
        self._queue: RequestQueue = app.state.queue
        self._report = report
        self._end: float | None = None

    def answer(self, listening: socket.socket) -> None:
        """Answer requests at a socket that listens, until `stop` is called or a signal comes; errors are `run`'s."""
        try:
            run(self, listening)
        finally:
            self._queue.wait(0 if self.force_exit else _LAST_STEP)

    def stop(self) -> None:
        self.should_exit = True

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        is_second = self._queue.closing
        super().handle_exit(sig, frame)
        self._queue.closing = True
        self.should_exit = self.force_exit = is_second  # uvicorn itself would end at the first signal
        if is_second:
            return
        self._end = time.monotonic() + GRACE
        if waiting := len(self._queue.answers):
            answers = "1 answer is" if waiting == 1 else f"{waiting} answers are"
            self._report.note(f"ending: {answers} still waited for; Ctrl-C again ends it at once")

    async def on_tick(self, counter: int) -> bool:
        if self._end and (not self._queue.answers or time.monotonic() > self._end):
            self.should_exit = True
        return await super().on_tick(counter)


def run(server: uvicorn.Server, listening: socket.socket) -> None:
    """Serve at a socket until a signal comes, also one that comes before the event loop runs.

    uvicorn handles signals only once its loop runs; before, a KeyboardInterrupt would leave a coroutine unawaited.

    Raises:
        KeyboardInterrupt: a signal came, and everything has ended.
    """
    with server.capture_signals():
        server.run([listening])
