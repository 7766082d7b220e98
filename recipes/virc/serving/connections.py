"""Connections of our HTTP servers: silent ones are closed in time, and before others where there are too many."""

import asyncio
import errno
import sys
import time
from contextlib import suppress
from typing import Any

import h11
from fastapi.responses import JSONResponse
from uvicorn.protocols.http.h11_impl import H11Protocol

from virc.core.events import Reporter
from virc.core.text import clause, counted

MAX_CONNECTIONS = 2048
"""Connections at a time, where so many files can be open."""
FIRST_HEAD, NEXT_HEAD = 20, 60
"""Seconds in which a new client sends the head of a request, and one that was answered another: uvicorn has no limit
for the first, and clients reuse a connection for longer than its own 5 for the others."""
_OTHER_FILES = 128  # that stay free for engines, pictures and readers
_FEWEST = 32  # connections that are taken, whatever else has files open
_MOST_FILES = 65_536  # some programs take time for each that they could open
_NO_FILES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_TRY, _SAY = 0.5, 60  # seconds between two times that silent ones are closed so that others are accepted, or it is said
_FIRST_PROBE = 0.05  # seconds between the first two interim responses to a client that may have left
_BUSY = JSONResponse(
    {"error": {"message": "too many requests at a time: ask again later", "type": "server_error"}},
    503,
    {"Retry-After": "10", "Connection": "close"},
)


def most_connections(report: Reporter) -> int:
    """How many connections there may be, by the files that this process can open, whose limit is raised."""
    if sys.platform == "win32":
        return MAX_CONNECTIONS
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= soft < _MOST_FILES:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (_MOST_FILES if hard < 0 else min(hard, _MOST_FILES), hard))
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    most = MAX_CONNECTIONS if soft < 0 else min(MAX_CONNECTIONS, max(soft - _OTHER_FILES, soft // 2))
    if most < MAX_CONNECTIONS:
        few = f"this process can open {soft} files, so {most} connections are taken at a time"
        report.warn(few, f"ulimit -n {MAX_CONNECTIONS + _OTHER_FILES}")
    return most


class Connections:
    """Those of one server.

    Args:
        report: is told, once a minute, that connections cannot be accepted.

    Attributes:
        most: connections at a time; the silent ones are closed from there on, and requests refused.
        count: those that are open.
        silent: those that have sent no whole head of a request, the longest first, and what closes them in time.
    """

    def __init__(self, report: Reporter) -> None:
        self.most, self.count = most_connections(report), 0
        self.silent: dict[Connection, asyncio.TimerHandle] = {}
        self._report, self._failed, self._next_try, self._next_word = report, 0, 0.0, 0.0

    def connection(self, **words: Any) -> "Connection":
        """What uvicorn asks for when a client connects."""
        return Connection(self, **words)

    def close_silent(self, count: int) -> None:
        for each in [*self.silent][:count]:
            each.transport.close()
            each.heard()

    def on_fault(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Handle what goes wrong in the event loop, which tries to accept a connection thousands of times a second."""
        error, now = context.get("exception"), time.monotonic()
        if not isinstance(error, OSError) or error.errno not in _NO_FILES:
            return loop.default_exception_handler(context)
        self._failed += 1
        if now >= self._next_try:
            self._next_try = now + _TRY
            self.most = min(self.most, max(_FEWEST, self.count * 3 // 4))  # else new ones leave nothing for engines
            self.close_silent(max(0, self.count - self.most))
        if now >= self._next_word:
            self._next_word = now + _SAY
            self._report.warn(f"connections cannot be accepted ({counted(self._failed, 'failure')}): {clause(error)}")
        return None


class Connection(H11Protocol):
    """One client, which may also close its sending side behind the request, as `nc -N` does.

    A client that has left looks the same until something is sent to it: an interim response, which clients skip
    (RFC 9110, 15.2), makes its system report that nobody reads. What has begun to be answered ends as before.
    """

    def __init__(self, among: Connections, **words: Any) -> None:
        super().__init__(**words)
        self._among = among

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._among.count += 1
        if self._among.count > self._among.most:
            self._among.close_silent(1)
        self._wait(FIRST_HEAD)

    def handle_events(self) -> None:
        self.app = _BUSY if len(self.tasks) >= self._among.most else self.config.loaded_app
        super().handle_events()
        if self.cycle is not None and not self.cycle.response_complete:
            self.heard()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.cycle.response_complete and not self.transport.is_closing():  # no further request was sent meanwhile
            self._wait(NEXT_HEAD)

    def connection_lost(self, exc: Exception | None) -> None:
        self._among.count -= 1
        self.heard()
        super().connection_lost(exc)

    def _wait(self, seconds: float) -> None:
        self.heard()
        self._among.silent[self] = self.loop.call_later(seconds, self.transport.close)

    def heard(self) -> None:
        """It is not silent, or no longer there."""
        if timer := self._among.silent.pop(self, None):
            timer.cancel()

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
