"""Takes requests in, lets them wait for their turn, and answers each in a thread: bounded in number, bytes and time.

A request has a place from its arrival until it is answered. Room is what its body takes before it is its turn. A turn
is the right to a thread, of which there are as many as requests are answered at a time.
"""

import asyncio
import threading
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import ExitStack, suppress
from functools import partial
from itertools import count
from typing import Generic, TypeVar

import msgspec

from virc.core.errors import VircError
from virc.core.timeouts import Deadline
from virc.serving.agent.line import Line, may_have_more
from virc.serving.agent.workers import Workers
from virc.serving.chat_request import RefusedError

MAX_HELD = 256 * 2**20
"""Bytes of requests, their images and answers that are held at a time; one client may have half of them."""
WAITING = 2048
"""Requests that may wait for their turn; those of one client may have as many places as are free."""
MAX_READ = 4 * 2**20
"""Bytes of requests that are read before their turn. The next of each client is; further ones, while there is room."""
_PING = 5.0  # seconds without anything to send
_STUCK = 10.0  # seconds after the end of its time in which a thread should have ended what it does
LEFT = "the client hung up"
_WAIT = 10  # seconds after which one who was turned away may ask again
_START = 60  # seconds, while the engine starts: the longest wait that official clients obey


class LeftError(VircError):
    """Nobody listens any more."""


class Ping(msgspec.Struct, frozen=True):
    """Nothing has happened for a while."""


R = TypeVar("R")


class Job(ABC, Generic[R]):
    """What is done for a request when it is its turn.

    Attributes:
        left: nobody waits for it any more.
        longer: seconds after its time in which it can still say what was waited for.
    """

    longer = 0.0

    def __init__(self, deadline: Deadline) -> None:
        self.deadline = deadline
        self.left = threading.Event()

    def check(self) -> None:
        if self.left.is_set():
            raise LeftError(LEFT)

    async def prepare(self, hold: "Reservation") -> None:
        """Fetch what it needs, in the thread of the event loop."""

    @abstractmethod
    def run(self, send: Callable[[R], None], release: Callable[[], None]) -> None:
        """Do it, in a thread.

        Args:
            send: gets what happens on the way.
            release: the bytes of the request are kept no longer.
        """

    def weight(self, report: R) -> int:
        """Return about as many bytes as a report takes in memory."""
        return 0


class Reservation:
    """The place of one request, and the bytes that it and its answer keep in memory, counted against what all may."""

    def __init__(self, queue: "RequestQueue", client: str, number: int) -> None:
        self.client, self.number = client, number
        self._queue, self._bytes, self._room = queue, 0, 0
        self._waits, self._ended = True, False

    async def room(self, size: int, deadline: Deadline) -> None:
        try:
            async with asyncio.timeout(deadline.left()):
                await self._queue.reading.take(self.client, self.number, size)
        except TimeoutError:
            raise timed_out(deadline) from None
        self._room = size

    def add(self, size: int) -> None:
        """Count bytes that have come. Raises RefusedError: there are too many; LeftError: nobody waits for them."""
        if self._ended:
            raise LeftError(LEFT)
        if self._queue.held + size > MAX_HELD or self._queue.held_of[self.client] + size > MAX_HELD // 2:
            raise _busy("too much is being sent to this server, or waits to be taken from it")
        self._count(size)

    def release(self, size: int | None = None) -> None:
        """Bytes are kept no longer; None: all of them."""
        if size is None and self._room:
            self._queue.reading.give_back(self.client, self._room)
            self._room = 0
        self._count(-(self._bytes if size is None else min(size, self._bytes)))

    def _count(self, size: int) -> None:
        self._bytes += size
        self._queue.held += size
        self._queue.held_of[self.client] += size
        if not self._queue.held_of[self.client]:
            del self._queue.held_of[self.client]

    def leave(self) -> None:
        if self._waits:
            self._waits = False
            self._queue.taken -= 1
            self._queue.places_of[self.client] -= 1
            if not self._queue.places_of[self.client]:
                del self._queue.places_of[self.client]

    def end(self) -> None:
        self._ended = True
        self.leave()
        self.release()
        self._queue.answers.discard(self)


class RequestQueue:
    """Where problems are taken in; all but the solving itself happens in the thread of the event loop.

    Attributes:
        held, held_of: bytes of requests and answers in memory: of all, and of each client.
        taken, places_of: requests that are read, wait or are being solved: of all, and of each client.
        answers: those of problems that were taken in, until they are delivered.
        closing: no more are taken in.
        reading: the line of those who wait for room, in bytes.
    """

    def __init__(self, at_once: int, waiting: int = WAITING, ready: Callable[[], bool] = lambda: True) -> None:
        self.held = self.taken = 0
        self.held_of: Counter[str] = Counter()
        self.answers: set[Reservation] = set()
        self.closing = False
        self.reading = Line(MAX_READ, lambda has, size, free: not has or has + size <= free)
        self._places, self._ready = at_once + waiting, ready
        self._turns = Line(at_once, lambda _, size, free: size <= free)
        self.places_of: Counter[str] = Counter()
        self._numbers = count()
        self._workers = Workers(at_once)

    def place(self, client: str) -> Reservation:
        self.check()
        if not may_have_more(self.places_of[client], self.taken, self._places):
            raise _busy("too many requests are waiting")
        self.taken += 1
        self.places_of[client] += 1
        return Reservation(self, client, next(self._numbers))

    def check(self) -> None:
        if self.closing:
            raise RefusedError("the server is ending", status=503, wait=_WAIT)
        if not self._workers.able:
            raise RefusedError("no worker can take a request: all are stuck in others", status=503, wait=_WAIT)
        self._check_engine()

    def _check_engine(self) -> None:
        if not self._ready():
            raise RefusedError("the model is being started again: ask again later", status=503, wait=_START)

    def wait(self, seconds: float) -> None:
        self._workers.wait(seconds)

    async def solve(
        self, job: Job[R], hold: Reservation, gone: Callable[[], Awaitable[None]]
    ) -> AsyncGenerator[R | Ping, None]:
        """What happens on the way to the answers; closed before its end, the job is left.

        Args:
            hold: of the request; released when that is needed no longer. Then it counts reports by their weight, and
                the receiver releases them.
            gone: returns when the client hung up.

        Raises:
            RefusedError: there is no place for it, its time is over, or an image cannot be had.
            LeftError: the client hung up.
            VircError: the model did not answer.
        """
        self.check()
        reports: asyncio.Queue[R | Exception | None] = asyncio.Queue()
        thing: R | Ping | Exception | None

        async def watch() -> None:
            await gone()
            reports.put_nowait(LeftError(LEFT))

        self.answers.add(hold)
        working = asyncio.create_task(self._work(job, hold, reports))
        working.add_done_callback(lambda _: hold.leave())
        watching = asyncio.create_task(watch())
        try:
            while True:
                try:
                    async with asyncio.timeout(_PING):
                        thing = await reports.get()
                except TimeoutError:
                    thing = Ping()
                if thing is None:
                    return
                if isinstance(thing, Exception):
                    raise thing
                yield thing
        finally:
            thing = None  # an error and its traceback would keep each other, and with them the pictures
            working.cancel()
            watching.cancel()

    async def _work(self, job: Job[R], hold: Reservation, reports: asyncio.Queue[R | Exception | None]) -> None:
        left = job.deadline.left()
        limit = asyncio.timeout(None if left is None else left + job.longer)
        try:
            async with limit:
                await self._in_turn(job, hold, reports)
            reports.put_nowait(None)
        except asyncio.CancelledError:  # by `solve`; kept in the task, it would keep that, too
            return
        except Exception as error:
            late = limit.expired() or job.deadline.left() == 0
            place = error.place if isinstance(error, VircError) else None
            reports.put_nowait(timed_out(job.deadline, place) if late else error.with_traceback(None))

    async def _in_turn(self, job: Job[R], hold: Reservation, reports: asyncio.Queue[R | Exception | None]) -> None:
        """When it is its turn, do the job in a thread, with whose end the turn ends."""
        loop = asyncio.get_running_loop()

        def send(do: Callable[..., object], *words: object) -> None:
            with suppress(RuntimeError):  # the server has ended
                loop.call_soon_threadsafe(do, *words)

        def receive(thing: R) -> None:
            try:
                hold.add(job.weight(thing))
                reports.put_nowait(thing)
            except (RefusedError, LeftError) as error:
                job.left.set()
                reports.put_nowait(error.with_traceback(None))  # which holds `reports`

        await self._turns.take(hold.client, hold.number)
        with ExitStack() as turn:
            turn.callback(self._turns.give_back, hold.client)
            await job.prepare(hold)
            turn.pop_all()

        def run() -> None:
            self._check_engine()
            job.run(partial(send, receive), partial(send, hold.release))

        done = self._workers.do(run)
        turn.callback(self._turns.give_back, hold.client)
        done.add_done_callback(lambda _: send(turn.close))

        def replace() -> None:
            if self._workers.replace(done):
                turn.close()

        if (left := job.deadline.left()) is not None:
            turn.callback(loop.call_later(left + _STUCK, replace).cancel)
        try:
            await asyncio.wrap_future(done)
        finally:
            job.left.set()


def timed_out(deadline: Deadline, place: str | None = None) -> RefusedError:
    """The error of a problem whose time is over; `place` is the role and step of a pipeline that was waited for."""
    return RefusedError(f"{f'{place}: ' if place else ''}no answer within {deadline.seconds:g} s", status=504)


def _busy(message: str) -> RefusedError:
    return RefusedError(f"{message}: ask again later", code="rate_limit_exceeded", status=429, wait=_WAIT)
