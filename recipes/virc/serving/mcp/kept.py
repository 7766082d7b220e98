"""What a session's results are kept in: pictures and traces, bounded in number and bytes, each for its session only."""

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

import msgspec

MOST_THINGS = 256
"""Pictures and traces of one session."""
MOST_BYTES = 256 * 2**20
"""Of all sessions; one session may have half of them."""
IDLE = 30 * 60.0
"""Seconds after its last call that a session over HTTP is forgotten."""


class Kept(msgspec.Struct, frozen=True):
    """A thing that is kept, and the bytes that it takes."""

    value: object
    size: int


class Shelf:
    """Keeps results by names that cannot be guessed; the oldest give way to new ones.

    Args:
        most_things, most_bytes, idle: as the constants.
        now: seconds, as `time.monotonic` counts.
    """

    def __init__(
        self,
        most_things: int = MOST_THINGS,
        most_bytes: int = MOST_BYTES,
        idle: float = IDLE,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._most_things, self._most_bytes, self._idle, self._now = most_things, most_bytes, idle, now
        self._sessions: OrderedDict[str, OrderedDict[str, Kept]] = OrderedDict()  # the one used last is the last
        self._used: dict[str, float] = {}
        self._lock = threading.Lock()

    def keep(self, session: str, kind: str, value: object, size: int) -> str:
        """Keep something and return its name, such as `image-1f…`."""
        name = f"{kind}-{secrets.token_hex(16)}"
        with self._lock:
            things = self._session(session)
            things[name] = Kept(value, size)
            while len(things) > 1 and (len(things) > self._most_things or _size(things) > self._most_bytes // 2):
                things.popitem(last=False)
            while len(self._sessions) > 1 and self.size > self._most_bytes:
                self._forget(next(iter(self._sessions)))
        return name

    def find(self, session: str, name: str) -> object | None:
        """What a session keeps by that name; None where it keeps nothing by it."""
        with self._lock:
            kept = self._session(session).get(name)
        return kept.value if kept else None

    def drop(self, session: str) -> None:
        """Forget a session that has ended."""
        with self._lock:
            self._forget(session)

    @property
    def size(self) -> int:
        """Bytes that are kept."""
        return sum(map(_size, self._sessions.values()))

    def _session(self, name: str) -> OrderedDict[str, Kept]:
        for other in [other for other, used in self._used.items() if self._now() - used > self._idle]:
            if other:  # the one of stdio lives as long as the process
                self._forget(other)
        things = self._sessions.setdefault(name, OrderedDict())
        self._sessions.move_to_end(name)
        self._used[name] = self._now()
        return things

    def _forget(self, session: str) -> None:
        self._sessions.pop(session, None)
        self._used.pop(session, None)


def _size(things: OrderedDict[str, Kept]) -> int:
    return sum(thing.size for thing in things.values())
