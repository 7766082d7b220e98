"""The queue of requests: each waits for its turn and is answered in a thread, bounded in number, bytes and time.

The server calls `RequestQueue.place` when a request arrives, `Reservation.room` before it reads the body, and
`RequestQueue.solve` with a `Job` once the request is understood. Three things are given out and given back:

place   one for each request, from its arrival until it is answered; the number of places is the length of the queue
room    bytes, for bodies of requests that are read before their turn
turn    the right to a thread, of which there are as many as requests are answered at a time
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
"""Bytes of bodies that are read before their turn. One of each client is read at any size, more while there is room."""
_PING = 5.0  # seconds without a report, after which a `Ping` is sent
_STUCK = 10.0  # seconds after the end of its time in which a thread should have ended what it does
LEFT = "the client hung up"
_WAIT = 10  # seconds after which a client that was refused may ask again
_START = 60  # the same while the engine starts, in seconds: the longest wait that official clients obey


class LeftError(VircError):
    """Nobody listens any more."""


class Ping(msgspec.Struct, frozen=True):
    """Nothing has happened for a while."""


R = TypeVar("R")
"""What a job reports on the way to its answers, and the answers."""


class Job(ABC, Generic[R]):
    """What is done for a request when it is its turn.

    Attributes:
        left: is set when nobody waits for the job any more.
        longer: seconds that it gets after its deadline, so that its error can name what it was waiting for.
    """

    longer = 0.0

    def __init__(self, deadline: Deadline) -> None:
        self.deadline = deadline
        self.left = threading.Event()

    def check(self) -> None:
        if self.left.is_set():
            raise LeftError(LEFT)

    async def prepare(self, hold: "Reservation") -> None:
        """Fetch what the job needs, in the thread of the event loop."""

    @abstractmethod
    def run(self, send: Callable[[R], None], release: Callable[[], None]) -> None:
        """Do the job, in a thread.

        Args:
            send: gets each report.
            release: is called when the job has read its request, whose bytes are not counted from then on.
        """

    def weight(self, report: R) -> int:
        """Return about as many bytes as a report takes in memory."""
        return 0


class Reservation:
    """The place of one request, and the bytes that the request and its answer keep in memory."""

    def __init__(self, queue: "RequestQueue", client: str, number: int) -> None:
        self.client, self.number = client, number
        self._queue, self._bytes, self._room = queue, 0, 0
        self._has_place, self._ended = True, False

    async def room(self, size: int, deadline: Deadline) -> None:
        """Wait until there is room for a body of that size. Raises RefusedError: not before the deadline."""
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
        """Count that many bytes no longer; None: all, and give the room back."""
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
        """Give the place back; bytes of an answer that is not delivered yet still count."""
        if self._has_place:
            self._has_place = False
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
    """The queue; all but the jobs themselves runs in the thread of the event loop.

    Args:
        at_once: requests that are answered at a time.
        waiting: requests that may wait for their turn.
        ready: whether the engine runs.

    Attributes:
        held, held_of: bytes of requests and answers in memory: of all, and of each client.
        taken, places_of: requests that have a place: of all, and of each client.
        answers: reservations of requests whose answers are not delivered yet.
        closing: no more requests are taken.
        reading: the line of requests that wait for room, in bytes.
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
        """Give a request its place. Raises RefusedError: there is none for this client, or no request is taken now."""
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
        """Do a job when it is its turn; yields its reports, and a `Ping` whenever there was none for a while.

        Whoever closes this generator before its end leaves the job, which then stops.

        Args:
            hold: of the request. Each report is added to it by its weight; the receiver releases that once it is sent.
            gone: returns when the client hung up.

        Raises:
            RefusedError: the request is not taken, its time is over, or an image cannot be fetched.
            LeftError: the client hung up.
            VircError: the model did not answer.
        """
        self.check()
        reports: asyncio.Queue[R | Exception | None] = asyncio.Queue()  # None: the job has ended
        report: R | Ping | Exception | None

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
                        report = await reports.get()
                except TimeoutError:
                    report = Ping()
                if report is None:
                    return
                if isinstance(report, Exception):
                    raise report
                yield report
        finally:
            report = None  # an error and its traceback would keep each other, and with them the pictures
            working.cancel()
            watching.cancel()

    async def _work(self, job: Job[R], hold: Reservation, reports: asyncio.Queue[R | Exception | None]) -> None:
        """Do the job within its time, and put its end or its error into `reports`."""
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
        """Wait for the turn of the job, then do it in a thread; the turn ends with the thread's work."""
        loop = asyncio.get_running_loop()

        def call_in_loop(function: Callable[..., object], *arguments: object) -> None:
            with suppress(RuntimeError):  # the server has ended
                loop.call_soon_threadsafe(function, *arguments)

        def receive(report: R) -> None:
            try:
                hold.add(job.weight(report))
                reports.put_nowait(report)
            except (RefusedError, LeftError) as error:
                job.left.set()
                reports.put_nowait(error.with_traceback(None))  # a traceback would keep `reports` itself

        await self._turns.take(hold.client, hold.number)
        with ExitStack() as turn:
            turn.callback(self._turns.give_back, hold.client)
            await job.prepare(hold)
            turn.pop_all()  # the turn outlives this block: from here on it is given back when the thread is done

        def run() -> None:
            self._check_engine()
            job.run(partial(call_in_loop, receive), partial(call_in_loop, hold.release))

        done = self._workers.do(run)
        turn.callback(self._turns.give_back, hold.client)
        done.add_done_callback(lambda _: call_in_loop(turn.close))

        def replace() -> None:  # a thread that does not end in time costs no turn for ever
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
