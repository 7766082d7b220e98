"""Who is next: clients take turns, and the requests of one client keep their order."""

import asyncio
from bisect import insort
from collections import Counter
from collections.abc import Callable

import msgspec


def may_have_more(has: int, taken: int, places: int) -> bool:
    """Whether a client gets one more place: it may have as many as are free, so one alone leaves half to others."""
    return taken < places and has <= places - taken


class _Waiting(msgspec.Struct, frozen=True):
    number: int
    size: int
    served: "asyncio.Future[None]"


class Line:
    """Clients that wait for a share of something, in the thread of the event loop.

    Args:
        amount: how much of it there is.
        fits: whether a client that has so much gets so much more if so much is free.
    """

    def __init__(self, amount: int, fits: Callable[[int, int, int], bool]) -> None:
        self._free, self._fits = amount, fits
        self._has: Counter[str] = Counter()
        self._waiting: dict[str, list[_Waiting]] = {}  # the client whose turn it is comes first

    async def take(self, client: str, number: int, size: int = 1) -> None:
        """Wait for a share; the lowest number of a client is its first. Whoever gets one gives it back."""
        waiting = _Waiting(number, size, asyncio.get_running_loop().create_future())
        insort(self._waiting.setdefault(client, []), waiting, key=lambda each: each.number)
        self._serve()
        try:
            await waiting.served
        except asyncio.CancelledError:
            if waiting.served.cancelled():
                self._serve()
            else:
                self.give_back(client, size)
            raise

    def give_back(self, client: str, size: int = 1) -> None:
        self._free += size
        self._has[client] -= size
        if not self._has[client]:
            del self._has[client]
        self._serve()

    def _serve(self) -> None:
        """Give out what fits, one share a client until none does."""
        before = None
        while before != self._free:
            before = self._free
            for client in [*self._waiting]:
                first = self._first(client)
                if first and self._fits(self._has[client], first.size, self._free):
                    self._forget(client, first)
                    if client in self._waiting:  # its next request waits until the other clients had their turn
                        self._waiting[client] = self._waiting.pop(client)
                    self._free -= first.size
                    self._has[client] += first.size
                    first.served.set_result(None)

    def _first(self, client: str) -> _Waiting | None:
        """The first of its requests that has not left; one that was cancelled may not have come to say so yet."""
        while (first := self._waiting[client][0]).served.cancelled():
            self._forget(client, first)
            if client not in self._waiting:
                return None
        return first

    def _forget(self, client: str, waiting: _Waiting) -> None:
        self._waiting[client].remove(waiting)
        if not self._waiting[client]:
            del self._waiting[client]
