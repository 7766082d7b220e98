"""Takes problems in, lets them wait for their turn, and solves each in a thread: bounded in number, bytes and time."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from concurrent import futures
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from queue import SimpleQueue

import msgspec

from virc.backends.interface import Backend
from virc.core.errors import DataError, VircError
from virc.core.fetch import Rules
from virc.core.timeouts import Deadline
from virc.reasoning.images import Shown, open_file
from virc.reasoning.protocol import Protocol
from virc.reasoning.session import Unit, show_input
from virc.serving.agent import fetch, text, wire
from virc.serving.agent.answer import Answer, answer_of, is_too_long
from virc.serving.agent.finish import Finisher
from virc.serving.agent.request import Problem
from virc.serving.chat_request import RefusedError
from virc.solving.image_source import data_url_bytes
from virc.solving.one import Event, SampleStart, SolveConfig, ToolResult, attempts

MOST_HELD = 256 * 2**20
"""Bytes of requests and their images that are held at a time, all clients together."""
WAITING = 128
"""Requests that may wait for their turn."""
_PING = 5.0  # seconds without anything to send
_LEFT = "the client hung up"
_WAIT = 10  # seconds after which one who was turned away may ask again


class Workers:
    """So many threads that compute, and live as long as the process: torch keeps a pool of its own for each.

    They do not keep the process from ending: one may wait for a server that never answers.
    """

    def __init__(self, count: int) -> None:
        self._work: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._pending: set[Future[None]] = set()
        for number in range(count):
            threading.Thread(target=self._run, name=f"agent-{number}", daemon=True).start()

    def do(self, work: Callable[[], None]) -> Future[None]:
        """Have something done when a thread is free; the future ends then, with the error if there was one."""
        done: Future[None] = Future()
        done.set_running_or_notify_cancel()  # the thread ends it, even if nobody waits
        done.add_done_callback(self._pending.discard)
        self._pending.add(done)

        def whole() -> None:
            try:
                work()
            except BaseException as error:  # a panic of a library is no `Exception`, and is to end no thread
                done.set_exception(error if isinstance(error, Exception) else RuntimeError(repr(error)))
            else:
                done.set_result(None)

        self._work.put(whole)
        return done

    def wait(self, seconds: float) -> None:
        """Wait until all is done, but no longer than that."""
        futures.wait(set(self._pending), seconds)

    def _run(self) -> None:
        while True:
            self._work.get()()


class Solving(msgspec.Struct, frozen=True):
    """How problems are solved.

    Args:
        backend: the model.
        protocol: its chat protocol.
        config: turns and time of one problem; the rest is in the requests.
        at_once: problems that are solved at a time.
        waiting: problems that may wait for their turn.
        rules: which images are fetched.
    """

    backend: Backend
    protocol: Protocol
    config: SolveConfig
    at_once: int = 1
    waiting: int = WAITING
    rules: Rules = fetch.RULES


class LeftError(VircError):
    """Nobody listens any more."""


class Ping(msgspec.Struct, frozen=True):
    """Nothing has happened for a while."""


Report = SampleStart | Unit | wire.Looked | Answer | Ping
"""What happens to a problem on its way: a sample begins; a thought; a tool call; a sample's end; nothing."""


class _Job:
    """A problem in its turn.

    Attributes:
        pictures: data URLs, and what was fetched; empty when they have been read.
        left: nobody waits for it any more.
    """

    def __init__(self, problem: Problem, pictures: Sequence[str], deadline: Deadline) -> None:
        self.problem, self.deadline = problem, deadline
        self.pictures: list[str | bytes] = [*pictures]
        self.left = threading.Event()

    def check(self) -> None:
        """Raise `LeftError` if nobody waits for it."""
        if self.left.is_set():
            raise LeftError(_LEFT)


_Queue = asyncio.Queue[Report | Exception | None]


class Hold:
    """Bytes that one request and its answer keep in memory, counted against what all may."""

    def __init__(self, desk: "Desk") -> None:
        self._desk, self._bytes, self._ended = desk, 0, False

    def add(self, size: int) -> None:
        """Count bytes that have come.

        Raises:
            RefusedError: all requests together would hold too many.
            LeftError: nobody waits for them.
        """
        if self._ended:
            raise LeftError(_LEFT)
        if self._desk.held + size > MOST_HELD:
            raise _busy("too much is being sent to this server, or waits to be taken from it")
        self._desk.held += size
        self._bytes += size

    def release(self, size: int | None = None) -> None:
        """Bytes are kept no longer; None: all of them."""
        size = self._bytes if size is None else min(size, self._bytes)
        self._desk.held -= size
        self._bytes -= size

    def end(self) -> None:
        """The answer is delivered, or given up."""
        self._ended = True
        self.release()
        self._desk.answers.discard(self)


class Desk:
    """Where problems are taken in; all but the solving itself happens in the thread of the event loop.

    Attributes:
        held: bytes of requests and answers in memory.
        taken: problems that wait or are being solved.
        answers: those of problems that were taken in, until they are delivered.
        closing: no more are taken in.
    """

    def __init__(self, solving: Solving) -> None:
        self.solving = solving
        self.held = self.taken = 0
        self.answers: set[Hold] = set()
        self.closing = False
        self._turns = asyncio.Semaphore(solving.at_once)
        self._workers = Workers(solving.at_once)
        self._opening = threading.Lock()  # a picture may have 100 million pixels until it is shown

    def check(self) -> None:
        """Refuse a request before its body is read.

        Raises:
            RefusedError: the server is ending, or too many are waiting.
        """
        if self.closing:
            raise RefusedError("the server is ending", status=503, wait=_WAIT)
        if self.taken >= self.solving.at_once + self.solving.waiting:
            raise _busy("too many requests are waiting")

    def wait(self, seconds: float) -> None:
        """Wait for the threads of those who hung up, no longer than that."""
        self._workers.wait(seconds)

    async def solve(
        self, problem: Problem, pictures: list[str], hold: Hold, deadline: Deadline, gone: Callable[[], Awaitable[None]]
    ) -> AsyncGenerator[Report, None]:
        """What happens on the way to the answers; closed before its end, the model stops.

        Args:
            pictures: addresses of its images; they are taken out, so that nobody else keeps them.
            hold: of the request; released when that is needed no longer. Then it counts reports by `weight`, and the
                receiver releases them.
            gone: returns when the client hung up.

        Raises:
            RefusedError: there is no place for it, its time is over, or an image cannot be had.
            LeftError: the client hung up.
            VircError: the model did not answer.
        """
        self.check()
        job = _Job(problem, pictures, deadline)
        pictures.clear()
        reports: _Queue = asyncio.Queue()

        async def watch() -> None:
            await gone()
            reports.put_nowait(LeftError(_LEFT))

        self.taken += 1
        self.answers.add(hold)
        working = asyncio.create_task(self._work(job, hold, reports))
        working.add_done_callback(self._free)
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
            working.cancel()
            watching.cancel()

    def _free(self, _: asyncio.Task[None]) -> None:
        self.taken -= 1

    async def _work(self, job: _Job, hold: Hold, reports: _Queue) -> None:
        """Send all that happens, and last None or what went wrong."""
        limit = asyncio.timeout(job.deadline.left())
        try:
            async with limit:
                for number, picture in enumerate(job.pictures):
                    if isinstance(picture, str) and picture[:5].lower() != "data:":
                        name = f"image {number}"
                        job.pictures[number] = await fetch.fetch(picture, name, self.solving.rules, hold.add)
                await self._in_turn(job, hold, reports)
            reports.put_nowait(None)
        except Exception as error:
            late = limit.expired() or job.deadline.left() == 0
            timed_out = RefusedError(f"no answer within {job.deadline.seconds:g} s", status=504)
            reports.put_nowait(timed_out if late else error)

    async def _in_turn(self, job: _Job, hold: Hold, reports: _Queue) -> None:
        """Solve in a thread when it is this problem's turn, which lasts until that thread has ended."""
        loop = asyncio.get_running_loop()

        def send(do: Callable[..., object], *words: object) -> None:
            with suppress(RuntimeError):  # the server has ended
                loop.call_soon_threadsafe(do, *words)

        def receive(thing: Report) -> None:
            try:
                hold.add(weight(thing))
                reports.put_nowait(thing)
            except (RefusedError, LeftError) as error:
                job.left.set()
                reports.put_nowait(error)

        await self._turns.acquire()
        done = self._workers.do(partial(self._solve, job, partial(send, receive), partial(send, hold.release)))
        done.add_done_callback(lambda _: send(self._turns.release))
        try:
            await asyncio.wrap_future(done)
        finally:
            job.left.set()

    def _solve(self, job: _Job, send: Callable[[Report], None], opened: Callable[[], None]) -> None:
        shown = []
        for number, picture in enumerate(job.pictures):
            job.check()
            shown.append(self._shown(picture, f"image {number}"))
        job.pictures.clear()
        opened()
        thoughts: list[str] = []

        def on_event(event: Event) -> None:
            job.check()
            match event:
                case SampleStart():
                    thoughts.clear()
                    send(event)
                case Unit():
                    thoughts.append(event.think)
                    send(event)
                case ToolResult():
                    for look in wire.looked(event, len(thoughts) - 1):
                        send(look)

        solving, problem = self.solving, job.problem
        usual = solving.config.longest(solving.protocol.sampling)
        config = msgspec.structs.replace(
            solving.config, samples=problem.samples, temperature=problem.temperature, top_p=problem.top_p,
            top_k=problem.top_k, seed=problem.seed % 2**31, max_tokens=min(problem.turn_tokens or usual, usual),
            keep_images=False,
        )  # fmt: skip
        samplings = config.samplings(solving.protocol.sampling)
        finisher = Finisher(problem, solving.backend, samplings, job.deadline, job.check)
        if problem.messages:
            if problem.max_tokens and not (problem.forced or problem.schema):  # the turn is the answer
                config = msgspec.structs.replace(config, max_tokens=min(problem.max_tokens, config.longest()))
            how = (config, solving.backend, solving.protocol, job.deadline)
            for answer in text.answers(problem.messages, *how, on_event):
                send(finisher.finished(answer, thoughts))
            return
        for attempt in attempts(
            config, solving.backend, solving.protocol, shown, problem.question, on_event=on_event, deadline=job.deadline
        ):  # fmt: skip
            if attempt.broken and not (attempt.trace.units and is_too_long(attempt.broken)):
                raise attempt.broken
            send(finisher.finished(answer_of(attempt), thoughts))

    def _shown(self, picture: str | bytes, name: str) -> Shown:
        with self._opening:
            try:
                content = data_url_bytes(picture) if isinstance(picture, str) else picture
            except DataError as error:
                raise DataError(f"{name}: {error.message}") from None
            try:
                return show_input(open_file(content, name), self.solving.protocol, self.solving.backend.grid)
            except ValueError as error:
                raise DataError(f"{name}: {error}") from None


def weight(thing: Report) -> int:
    """About as many bytes as a report takes in memory."""
    match thing:
        case Unit():
            return len(thing.think)
        case wire.Looked():
            return len(thing.url)
        case Answer():
            return len(thing.content)
    return 0


def _busy(message: str) -> RefusedError:
    return RefusedError(f"{message}: ask again later", code="rate_limit_exceeded", status=429, wait=_WAIT)
