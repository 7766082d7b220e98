"""Turns at a few processes that go round by client, so that the files of one hold up nobody else's."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from virc.core.limits.bounded import CHECK, CLIENT, BoundedProcess
from virc.core.work import forks


class Turns:
    """At most `most` processes, of which a client of a server gets one fewer; where all are idle, one stays."""

    def __init__(self, make: Callable[[], BoundedProcess], most: int) -> None:
        self._make, self._most = make, most
        self._renew()
        forks.renew_in_child(self._renew)

    def _renew(self) -> None:
        self._changed = threading.Condition()
        self.idle: list[BoundedProcess] = []
        self._busy: Counter[str] = Counter()  # processes of each client
        self.waiting: dict[str, list[object]] = {}  # turns of each client; the client whose turn is next is the first

    @contextmanager
    def turn(self, check: Callable[[], None]) -> Iterator[BoundedProcess]:
        """A process for this context alone; `check` is called while it waits."""
        client, own = CLIENT.get(), object()
        with self._changed:
            self.waiting.setdefault(client, []).append(own)
            try:
                while self._next() is not own:
                    self._changed.wait(CHECK)
                    check()
            finally:
                turns = self.waiting.pop(client)
                turns.remove(own)
                self.waiting |= {client: turns} if turns else {}  # behind all others
            self._busy[client] += 1
            process = self.idle.pop() if self.idle else self._make()
        try:
            yield process
        finally:
            with self._changed:
                self._busy -= Counter([client])  # drops what reaches zero
                self.idle.append(process)
                while not (self._busy or self.waiting) and len(self.idle) > 1:
                    self.idle.pop().close()
                self._changed.notify_all()

    def is_full(self) -> bool:
        return self._busy.total() >= self._most

    def _next(self) -> object:
        if self.is_full():
            return None
        of_client = max(1, self._most - 1)
        may = (turns[0] for client, turns in self.waiting.items() if not client or self._busy[client] < of_client)
        return next(may, None)

    def close(self) -> None:
        for process in self.idle:
            process.close()
