"""The queue of requests: each waits for its turn and is answered in a thread, bounded in bytes and time.

The server calls `RequestQueue.reserve` when a request arrives, and `RequestQueue.solve` with a `Job` once the request
is understood. A turn is the right to a thread; there are as many as requests are answered at a time. What a job needs
is fetched and read before its turn, for as many jobs of a client, so that files of one hold up nobody else.
"""

import asyncio
import threading
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Awaitable, Callable
from concurrent import futures
from contextlib import suppress
from functools import partial
from typing import Any, Generic, TypeVar
from weakref import WeakValueDictionary

import msgspec

from virc.core.errors import VircError
from virc.core.limits.bounded import CLIENT
from virc.core.timeouts import Deadline
from virc.core.work.threads import started
from virc.serving.chat_request import RefusedError

MAX_HELD = 256 * 2**20
"""Bytes of requests, their images and answers that are held at a time."""
_PING = 5.0  # seconds without a report, after which a `Ping` is sent
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
        """Fetch and read what the job needs, before its turn."""

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
    """The bytes that one request and its answer keep in memory."""

    def __init__(self, queue: "RequestQueue") -> None:
        self._queue, self._bytes, self._ended = queue, 0, False

    def add(self, size: int) -> None:
        """Count bytes that have come. Raises RefusedError: there are too many; LeftError: nobody waits for them."""
        if self._ended:
            raise LeftError(LEFT)
        if self._queue.held + size > MAX_HELD:
            message = "too much is being sent to this server, or waits to be taken from it: ask again later"
            raise RefusedError(message, code="rate_limit_exceeded", status=429, wait=_WAIT)
        self._count(size)

    def release(self, size: int | None = None) -> None:
        """Count that many bytes no longer; None: all."""
        self._count(-(self._bytes if size is None else min(size, self._bytes)))

    def _count(self, size: int) -> None:
        self._bytes += size
        self._queue.held += size

    def end(self) -> None:
        self._ended = True
        self.release()
        self._queue.answers.discard(self)


class RequestQueue:
    """The queue; all but the jobs themselves runs in the thread of the event loop.

    Args:
        at_once: requests that are answered at a time.
        ready: whether the engine runs.

    Attributes:
        held: bytes of requests and answers in memory.
        answers: reservations of requests whose answers are not delivered yet.
        closing: no more requests are taken.
    """

    def __init__(self, at_once: int, ready: Callable[[], bool] = lambda: True) -> None:
        self.held = 0
        self.answers: set[Reservation] = set()
        self.closing = False
        self._ready, self._at_once, self._turns = ready, at_once, asyncio.Semaphore(at_once)
        self._of_clients = WeakValueDictionary[str, asyncio.Semaphore]()
        self._running: set[futures.Future[Any]] = set()

    def reserve(self) -> Reservation:
        """Take a request in. Raises RefusedError: none is taken now."""
        self.check()
        return Reservation(self)

    def check(self) -> None:
        if self.closing:
            raise RefusedError("the server is ending", status=503, wait=_WAIT)
        self._check_engine()

    def _check_engine(self) -> None:
        if not self._ready():
            raise RefusedError("the model is being started again: ask again later", status=503, wait=_START)

    def wait(self, seconds: float) -> None:
        """Wait for the threads that still answer."""
        futures.wait(set(self._running), seconds)

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
            own = self._of_clients.setdefault(CLIENT.get(), asyncio.Semaphore(self._at_once))
            async with limit, own:
                await job.prepare(hold)
                await self._in_turn(job, hold, reports)
            reports.put_nowait(None)
        except asyncio.CancelledError:  # by `solve`; kept in the task, it would keep that, too
            return
        except Exception as error:
            late = limit.expired() or job.deadline.left() == 0
            place = error.place if isinstance(error, VircError) else None
            reports.put_nowait(timed_out(job.deadline, place) if late else error.with_traceback(None))
        finally:
            job.left.set()

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

        await self._turns.acquire()

        def run() -> Exception | None:
            try:
                self._check_engine()
                job.run(partial(call_in_loop, receive), partial(call_in_loop, hold.release))
            except BaseException as error:  # a panic of a library is no `Exception`
                failure = error if isinstance(error, Exception) else RuntimeError(repr(error))
                return failure.with_traceback(None)  # a traceback would keep the pictures
            return None

        done = started(run)
        self._running.add(done)
        done.add_done_callback(self._running.discard)
        done.add_done_callback(lambda _: call_in_loop(self._turns.release))
        failure = await asyncio.wrap_future(done)
        await asyncio.sleep(0)  # reports first: Python 3.14 does not wait here for a thread that has ended
        if failure:
            raise failure


def timed_out(deadline: Deadline, place: str | None = None) -> RefusedError:
    """The error of a problem whose time is over; `place` is the role and step of a pipeline that was waited for."""
    return RefusedError(f"{f'{place}: ' if place else ''}no answer within {deadline.seconds:g} s", status=504)
