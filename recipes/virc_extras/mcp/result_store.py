"""What a session's results are kept in: pictures and traces, bounded in number and bytes, each for its session only."""

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

MAX_RESULTS = 256
"""Pictures and traces of one session."""
MAX_BYTES = 256 * 2**20
"""Of all sessions; one session may have half of them."""
OF_ADDRESS = "\0"
"""The beginning of the name of a store for an address: of its clients that have no session."""
_MAX_OF_ADDRESS = 4 * MAX_RESULTS
IDLE = 30 * 60.0
"""Seconds after its last call that a session over HTTP is forgotten."""


class ResultStore:
    """Keeps results by names that cannot be guessed; the oldest give way to new ones."""

    def __init__(
        self, max_results: int = MAX_RESULTS, max_bytes: int = MAX_BYTES, idle: float = IDLE,
        now: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._max_results, self._max_bytes, self._idle, self._now = max_results, max_bytes, idle, now
        # Of each session, results and their bytes; the session that was used last is the last.
        self._sessions: OrderedDict[str, OrderedDict[str, tuple[object, int]]] = OrderedDict()
        self._used: dict[str, float] = {}
        self._lock = threading.Lock()

    def keep(self, session: str, kind: str, value: object, size: int) -> str:
        """Keep something and return its name, such as `image-1f…`."""
        name = f"{kind}-{secrets.token_hex(16)}"
        with self._lock:
            results = self._session(session)
            results[name] = value, size
            most = _MAX_OF_ADDRESS if session.startswith(OF_ADDRESS) else self._max_results
            while len(results) > 1 and (len(results) > most or _size(results) > self._max_bytes // 2):
                results.popitem(last=False)
            while self.size > self._max_bytes and len(fullest := max(self._sessions.values(), key=_size)) > 1:
                fullest.popitem(last=False)
        return name

    def find(self, session: str, name: str) -> object | None:
        with self._lock:
            kept = self._session(session).get(name)
            if session.startswith(OF_ADDRESS):  # a client may come from several; nobody guesses a name
                of_addresses = (results for other, results in self._sessions.items() if other.startswith(OF_ADDRESS))
                kept = next((results[name] for results in of_addresses if name in results), None)
        return kept[0] if kept else None

    def drop(self, session: str) -> None:
        with self._lock:
            self._forget(session)

    @property
    def size(self) -> int:
        return sum(map(_size, self._sessions.values()))

    def _session(self, name: str) -> OrderedDict[str, tuple[object, int]]:
        for other in [other for other, used in self._used.items() if self._now() - used > self._idle]:
            if other:  # the one of stdio lives as long as the process
                self._forget(other)
        results = self._sessions.setdefault(name, OrderedDict())
        self._sessions.move_to_end(name)
        self._used[name] = self._now()
        return results

    def _forget(self, session: str) -> None:
        self._sessions.pop(session, None)
        self._used.pop(session, None)


def _size(results: OrderedDict[str, tuple[object, int]]) -> int:
    return sum(size for _, size in results.values())
