"""uvicorn for our apps: it ends with its last answer. Clients that are slow are left to a proxy in front of it."""

import os
import socket
import time
from types import FrameType
from typing import TYPE_CHECKING, Any

import h11
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from virc.core.events import Reporter

if TYPE_CHECKING:
    from virc.serving.agent.request_queue import RequestQueue

GRACE = 30.0
"""Seconds that answers may still take when the server is to end."""
MAX_CONNECTIONS = 2048
"""Connections at a time; uvicorn answers one more with status 503."""
_FLUSH = 5  # seconds that connections get to close
_LAST_STEP = 5.0  # seconds that a step of a model may still take at the end
_FIRST_PROBE = 0.05  # seconds between the first two interim responses to a client that may have left
_KEEP_ALIVE = 60  # seconds; clients reuse a connection for longer than uvicorn's own 5


class Server(uvicorn.Server):
    """Serves an app until a signal: then its queue closes, and it ends with the last delivery, or after `GRACE`.

    A second signal ends it at once.

    Args:
        app: `state.queue` is its `RequestQueue`.
        report: gets how many answers the end waits for.
    """

    def __init__(self, app: FastAPI, report: Reporter) -> None:
        # what goes wrong with a request is sent to its client
        super().__init__(config(app, "error" if os.environ.get("VIRC_DEBUG") else "critical"))
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


class HalfClosing(H11Protocol):
    """Answers clients that close their sending side behind the request, as `nc -N` does.

    A client that has left looks the same until something is sent to it: an interim response, which clients skip
    (RFC 9110, 15.2), makes its system report that nobody reads. What has begun to be answered ends as before.
    """

    def eof_received(self) -> bool | None:  # type: ignore[override]
        if self.cycle is None or self.cycle.more_body or self.cycle.response_started:
            return None
        self.cycle.keep_alive = False
        self._probe(_FIRST_PROBE)
        return True

    def _probe(self, seconds: float) -> None:
        may_be_sent = self.scope["http_version"] != "1.0" and not self.cycle.response_started
        if may_be_sent and not self.transport.is_closing():
            interim = h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue")
            self.transport.write(self.conn.send(interim) or b"")
            self.loop.call_later(seconds, self._probe, 2 * seconds)


def config(app: Any, level: str = "critical", **changes: Any) -> uvicorn.Config:
    """Settings of uvicorn; `level` is of its log."""
    return uvicorn.Config(
        app, http=HalfClosing, ws="none", access_log=False, log_level=level, server_header=False, proxy_headers=False,
        limit_concurrency=MAX_CONNECTIONS, timeout_keep_alive=_KEEP_ALIVE,
        **{"lifespan": "off", "timeout_graceful_shutdown": _FLUSH, **changes},
    )  # fmt: skip
