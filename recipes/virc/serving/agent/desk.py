"""Takes problems in, lets them wait for their turn, and solves each in a thread: bounded in number, bytes and time.

A request has a place from its arrival until it is solved. Room is what its body takes before it is its turn. A turn is
the right to be solved, of which there are as many as problems are solved at a time.
"""

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from itertools import count
from typing import TypeVar

import msgspec

from virc.backends.interface import Backend
from virc.core.errors import DataError, NoAnswerError, VircError
from virc.core.timeouts import Deadline
from virc.core.web.fetch import Rules
from virc.reasoning.images import OpenedImage, Shown, open_file
from virc.reasoning.protocol import Protocol
from virc.reasoning.session import Unit, show_input
from virc.serving.agent import fetch, piped, text, wire
from virc.serving.agent.answer import Answer, answer_of, is_too_long
from virc.serving.agent.finish import Finisher
from virc.serving.agent.line import Line, may_have_more
from virc.serving.agent.request import Problem
from virc.serving.agent.workers import Workers
from virc.serving.chat_request import RefusedError
from virc.solving.image_source import data_url_bytes
from virc.solving.one import Event, SampleStart, SolveConfig, ToolResult, attempts
from virc.solving.outcome import chosen
from virc.solving.sampling.asking import Asking
from virc.solving.sampling.grading import Judge
from virc.solving.strategies import registry as strategies

_Picture = TypeVar("_Picture")

MOST_HELD = 256 * 2**20
"""Bytes of requests, their images and answers that are held at a time; one client may have half of them."""
WAITING = 2048
"""Requests that may wait for their turn; those of one client may have as many places as are free."""
MOST_READ = 4 * 2**20
"""Bytes of requests that are read before their turn. The next of each client is; further ones, while there is room."""
_PING = 5.0  # seconds without anything to send
_LEFT = "the client hung up"
_WAIT = 10  # seconds after which one who was turned away may ask again
_LONGER = 1.0  # seconds in which a role that is too late can still be named
_START = 60  # seconds, while the engine starts: the longest wait that official clients obey


class Solving(msgspec.Struct, frozen=True):
    """How problems are solved.

    Args:
        backend: the model.
        protocol: its chat protocol.
        config: turns and time of one problem; the rest is in the requests.
        at_once: problems that are solved at a time.
        waiting: problems that may wait for their turn.
        rules: which images are fetched.
        ready: whether the engine runs.
        pipeline: what answers chats with images in place of the model, which is that of its writer.
    """

    backend: Backend
    protocol: Protocol
    config: SolveConfig
    at_once: int = 1
    waiting: int = WAITING
    rules: Rules = fetch.RULES
    ready: Callable[[], bool] = lambda: True
    pipeline: piped.Piped | None = None


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
    """The place of one request, and the bytes that it and its answer keep in memory, counted against what all may.

    Args:
        client: whose it is.
        number: of the request.
    """

    def __init__(self, desk: "Desk", client: str, number: int) -> None:
        self.client, self.number = client, number
        self._desk, self._bytes, self._room = desk, 0, 0
        self._waits, self._ended = True, False

    async def room(self, size: int, deadline: Deadline) -> None:
        """Wait until a body of that size may be read.

        Raises:
            RefusedError: the time of the problem is over.
        """
        try:
            async with asyncio.timeout(deadline.left()):
                await self._desk.reading.take(self.client, self.number, size)
        except TimeoutError:
            raise timed_out(deadline) from None
        self._room = size

    def add(self, size: int) -> None:
        """Count bytes that have come.

        Raises:
            RefusedError: all requests together would hold too many.
            LeftError: nobody waits for them.
        """
        if self._ended:
            raise LeftError(_LEFT)
        if self._desk.held + size > MOST_HELD or self._desk.held_of[self.client] + size > MOST_HELD // 2:
            raise _busy("too much is being sent to this server, or waits to be taken from it")
        self._count(size)

    def release(self, size: int | None = None) -> None:
        """Bytes are kept no longer; None: all of them."""
        if size is None and self._room:
            self._desk.reading.give_back(self.client, self._room)
            self._room = 0
        self._count(-(self._bytes if size is None else min(size, self._bytes)))

    def _count(self, size: int) -> None:
        self._bytes += size
        self._desk.held += size
        self._desk.held_of[self.client] += size
        if not self._desk.held_of[self.client]:
            del self._desk.held_of[self.client]

    def leave(self) -> None:
        """The place is free again."""
        if self._waits:
            self._waits = False
            self._desk.free_place(self.client)

    def end(self) -> None:
        """The answer is delivered, or given up."""
        self._ended = True
        self.leave()
        self.release()
        self._desk.answers.discard(self)


class Desk:
    """Where problems are taken in; all but the solving itself happens in the thread of the event loop.

    Attributes:
        held, held_of: bytes of requests and answers in memory: of all, and of each client.
        taken: requests that are read, wait or are being solved.
        answers: those of problems that were taken in, until they are delivered.
        closing: no more are taken in.
        reading: the line of those who wait for room, in bytes.
    """

    def __init__(self, solving: Solving) -> None:
        self.solving = solving
        self.held = self.taken = 0
        self.held_of: Counter[str] = Counter()
        self.answers: set[Hold] = set()
        self.closing = False
        self.reading = Line(MOST_READ, lambda has, size, free: not has or has + size <= free)
        self._turns = Line(solving.at_once, lambda _, size, free: size <= free)
        self._of_client: Counter[str] = Counter()
        self._numbers = count()
        self._workers = Workers(solving.at_once)
        self._opening = threading.Lock()  # a picture may have 100 million pixels until it is shown

    def place(self, client: str) -> Hold:
        """A place for a request whose body is not read yet.

        Raises:
            RefusedError: the server is ending, its engine does not run, or too many are waiting.
        """
        self.check()
        if not may_have_more(self._of_client[client], self.taken, self.solving.at_once + self.solving.waiting):
            raise _busy("too many requests are waiting")
        self.taken += 1
        self._of_client[client] += 1
        return Hold(self, client, next(self._numbers))

    def free_place(self, client: str) -> None:
        """A request of the client has left."""
        self.taken -= 1
        self._of_client[client] -= 1
        if not self._of_client[client]:
            del self._of_client[client]

    def check(self) -> None:
        """Refuse a request that cannot be answered now.

        Raises:
            RefusedError: the server is ending, or its engine does not run.
        """
        if self.closing:
            raise RefusedError("the server is ending", status=503, wait=_WAIT)
        self._check_engine()

    def _check_engine(self) -> None:
        if not self.solving.ready():
            raise RefusedError("the model is being started again: ask again later", status=503, wait=_START)

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
            working.cancel()
            watching.cancel()

    async def _work(self, job: _Job, hold: Hold, reports: _Queue) -> None:
        """Send all that happens, and last None or what went wrong."""
        left, longer = job.deadline.left(), _LONGER if self.solving.pipeline else 0
        limit = asyncio.timeout(None if left is None else left + longer)
        try:
            async with limit:
                await self._in_turn(job, hold, reports)
            reports.put_nowait(None)
        except Exception as error:
            late = limit.expired() or job.deadline.left() == 0
            place = error.place if isinstance(error, VircError) else None
            reports.put_nowait(timed_out(job.deadline, place) if late else error)

    async def _in_turn(self, job: _Job, hold: Hold, reports: _Queue) -> None:
        """When it is this problem's turn, fetch its images and solve it in a thread, with whose end the turn ends."""
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

        await self._turns.take(hold.client, hold.number)
        with ExitStack() as turn:
            turn.callback(self._turns.give_back, hold.client)
            await self._fetch(job, hold)
            turn.pop_all()
        done = self._workers.do(partial(self._solve, job, partial(send, receive), partial(send, hold.release)))
        done.add_done_callback(lambda _: send(self._turns.give_back, hold.client))
        try:
            await asyncio.wrap_future(done)
        finally:
            job.left.set()

    async def _fetch(self, job: _Job, hold: Hold) -> None:
        for number, picture in enumerate(job.pictures):
            if isinstance(picture, str) and picture[:5].lower() != "data:":
                job.pictures[number] = await fetch.fetch(picture, f"image {number}", self.solving.rules, hold.add)

    def _solve(self, job: _Job, send: Callable[[Report], None], opened: Callable[[], None]) -> None:
        self._check_engine()
        thoughts: list[str] = []

        def on_event(event: Event | wire.Looked) -> None:
            job.check()
            match event:
                case wire.Looked():
                    send(event)
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
        if solving.pipeline and not problem.messages:
            pictures = self._read(job, self._whole, opened)
            for answer in piped.answers(solving.pipeline, problem, pictures, job.deadline, job.check, on_event):
                send(finisher.finished(answer, thoughts))
            return
        shown = self._read(job, self._shown, opened)
        if problem.messages:
            if problem.max_tokens and not (problem.forced or problem.schema):  # the turn is the answer
                config = msgspec.structs.replace(config, max_tokens=min(problem.max_tokens, config.longest()))
            how = (config, solving.backend, solving.protocol, job.deadline)
            for answer in text.answers(problem.messages, *how, on_event):
                send(finisher.finished(answer, thoughts))
            return
        if problem.strategy:
            send(finisher.finished(_by_strategy(problem, solving, config, shown, job.deadline, on_event), thoughts))
            return
        for attempt in attempts(
            config, solving.backend, solving.protocol, shown, problem.question, on_event=on_event, deadline=job.deadline
        ):  # fmt: skip
            if attempt.broken and not (attempt.trace.units and is_too_long(attempt.broken)):
                raise attempt.broken
            send(finisher.finished(answer_of(attempt), thoughts))

    def _read(
        self, job: _Job, use: Callable[[OpenedImage, str], _Picture], opened: Callable[[], None]
    ) -> list[_Picture]:
        """What `use` makes of each picture of a job; their files are kept no longer."""
        found = []
        for number, picture in enumerate(job.pictures):
            job.check()
            name = f"image {number}"
            with self._opening:
                found.append(use(_opened(picture, name), name))
        job.pictures.clear()
        opened()
        return found

    def _shown(self, picture: OpenedImage, name: str) -> Shown:
        try:
            return show_input(picture, self.solving.protocol, self.solving.backend.grid)
        except ValueError as error:
            raise DataError(f"{name}: {error}") from None

    def _whole(self, picture: OpenedImage, name: str) -> OpenedImage:
        piped.check_size(picture, name)
        return picture


def _opened(picture: str | bytes, name: str) -> OpenedImage:
    try:
        content = data_url_bytes(picture) if isinstance(picture, str) else picture
    except DataError as error:
        raise DataError(f"{name}: {error.message}") from None
    return open_file(content, name)


def _by_strategy(
    problem: Problem,
    solving: Solving,
    config: SolveConfig,
    shown: Sequence[Shown],
    deadline: Deadline,
    on_event: Callable[[Event], None],
) -> Answer:
    """The one answer of a strategy, with what all its replies took; thoughts of all samples come before it."""
    begun = False

    def on_each(event: Event) -> None:
        nonlocal begun
        if not isinstance(event, SampleStart):
            on_event(event)
        elif not begun:
            begun = True
            on_event(SampleStart(1, 1))

    config = strategies.settled(msgspec.structs.replace(config, strategy=problem.strategy))
    asked = (config, solving.backend, solving.protocol, shown, problem.question, deadline)
    solved = strategies.solve(Asking(*asked, on_event=on_each, grader=Judge(solving.backend)))
    if solved.error and not isinstance(solved.error, NoAnswerError):
        raise solved.error
    prompt, completion = solved.prompt_tokens or 0, solved.completion_tokens or 0
    answer = answer_of(chosen(solved))
    return msgspec.structs.replace(answer, prompt_tokens=prompt, completion_tokens=completion)


def weight(thing: Report) -> int:
    """About as many bytes as a report takes in memory."""
    match thing:
        case Unit():
            return len(thing.think)
        case wire.Looked():
            return sum(len(each) for each in (thing.url, thing.text, thing.error) if each)
        case Answer():
            return len(thing.content)
    return 0


def timed_out(deadline: Deadline, place: str | None = None) -> RefusedError:
    """The error of a problem whose time is over; `place` is the role and step of a pipeline that was waited for."""
    return RefusedError(f"{f'{place}: ' if place else ''}no answer within {deadline.seconds:g} s", status=504)


def _busy(message: str) -> RefusedError:
    return RefusedError(f"{message}: ask again later", code="rate_limit_exceeded", status=429, wait=_WAIT)
