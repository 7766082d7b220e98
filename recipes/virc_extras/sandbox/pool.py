"""Processes of the sandbox: some are started before they are needed, others wait with the state of a problem.

Each problem has a process of its own. Its state follows from the pieces of code that were run in it, one after the
other: if the process had to make room for others, a new one runs them again. `Pool.run` is the way in; a `_Session` is
one process with what was run in it.
"""

import atexit
import hashlib
import os
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import cache

import msgspec

from virc.core.errors import ConfigError
from virc_extras.sandbox.calls import NOTHING, Answer, Around, Asked, CodeReply, Image, Request
from virc_extras.sandbox.child import Child
from virc_extras.sandbox.isolator import Machine
from virc_extras.sandbox.watch import DiedError

AT_ONCE = "VIRC_PYTHON_AT_ONCE"
"""The variable that says how many programs one process of virc may run at the same time."""
_MAX_WARM = 4  # processes that are started before they are needed
_SESSIONS_PER_PLACE = 8  # sessions that wait for their next piece of code, for each program that may run at a time
_FILES_PER_SESSION = 6  # files that this process opens for each; all sessions may have half of those it may open
_MAX_HELD = 0.5  # share of the machine's memory that all waiting sessions may hold


class Run(msgspec.Struct, frozen=True):
    """A piece of code that was run.

    Args:
        images: how many images there were then.
        answered: each call of a function that it made: the call, the digest of its images' pixels, and the answer.
            Code that is run again gets the same answers.
        seconds: time that it was given; None: as much as the next piece of code.
    """

    code: str
    images: int
    around: Around = NOTHING
    answered: tuple[tuple[Asked, str, Answer], ...] = ()
    seconds: float | None = None


class SandboxProblem:
    """A problem that code is run for; its process ends when nothing refers to the problem any more."""


class Past(msgspec.Struct, frozen=True):
    """What was run for a problem, in order; the next piece of code finds the state that these left."""

    problem: SandboxProblem
    runs: tuple[Run, ...] = ()


class Given(msgspec.Struct, frozen=True):
    """An image that code is given; its PNG file is made where a process needs it."""

    image: Image
    png: Callable[[], bytes]


class Limits(msgspec.Struct, frozen=True):
    """What a piece of code may use and give back; `seconds` of the clock."""

    seconds: float
    files: str
    max_images: int
    max_pixels: int
    max_characters: int


class _Session:
    """A process with what was run in it."""

    def __init__(self, child: Child) -> None:
        self.child, self.runs = child, tuple[Run, ...]()
        self.images_given = 0  # the process already has the first so many images
        self.held = 0  # bytes of memory, while it waits

    def run(self, run: Run, images: Sequence[Given], limits: Limits, around: Around) -> tuple[CodeReply, list[bytes]]:
        new = images[self.images_given : run.images]
        request = Request(
            run.code, tuple(each.image for each in new), limits.files, limits.max_images, limits.max_pixels,
            limits.max_characters, 0, around.variables, around.functions, around.max_calls,
        )  # fmt: skip
        answered = list[tuple[Asked, str, Answer]]()

        def answer(asked: Asked, pixels: Sequence[bytes]) -> Answer:
            reply = around.answer(asked, pixels) if around.answer else Answer(error="nothing answers")
            answered.append((asked, _digest(pixels), reply))
            return reply

        result = self.child.run(request, [each.png() for each in new], limits.seconds, answer)
        done = msgspec.structs.replace(run, answered=tuple(answered))
        self.runs, self.images_given = (*self.runs, done), max(self.images_given, run.images)
        return result

    def repeat(self, run: Run, images: Sequence[Given], limits: Limits) -> None:
        """Run a piece of code again, and answer its calls as the first time. Raises DiedError."""
        recorded = list(run.answered)

        def answer(asked: Asked, pixels: Sequence[bytes]) -> Answer:
            first, digest, reply = recorded.pop(0) if recorded else (None, "", Answer())
            if first is None or (first.name, first.arguments, digest) != (asked.name, asked.arguments, _digest(pixels)):
                raise DiedError("Error: code that ran before went another way when it ran again. Its state is lost.")
            return reply

        around = msgspec.structs.replace(run.around, answer=answer)
        limits = msgspec.structs.replace(limits, seconds=run.seconds or limits.seconds)
        self.run(run, images, limits, around)
        self.runs = (*self.runs[:-1], run)


def _digest(pixels: Sequence[bytes]) -> str:
    digest = hashlib.sha256()
    for each in pixels:
        digest.update(each)
    return digest.hexdigest()


class Pool:
    """The processes of the sandbox of one process of virc."""

    def __init__(self, at_once: int) -> None:
        import resource  # not on Windows, where pipelines import this module all the same

        self._room = threading.BoundedSemaphore(at_once)
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2
        self._max_sessions = max(1, min(at_once * _SESSIONS_PER_PLACE, files // _FILES_PER_SESSION))
        self._max_warm = min(at_once, _MAX_WARM)
        self._lock = threading.RLock()  # reentrant: a problem may be collected, and `_forget` run, while it is held
        # The kernel ends a child with the thread that started it, so that this thread lasts as long as the process.
        self._starter = ThreadPoolExecutor(1, "virc-sandbox")
        self._warm: dict[Machine, list[Future[Child]]] = {}
        self._waiting: OrderedDict[int, _Session] = OrderedDict()  # by the id of the problem, the oldest first

    def run(
        self,
        past: Past,
        code: str,
        images: Sequence[Given],
        machine: Machine,
        limits: Limits,
        keeps: bool,
        around: Around = NOTHING,
    ) -> tuple[CodeReply, list[bytes], Past]:
        """Run a piece of code for a problem.

        Args:
            keeps: whether the next piece of code finds the state that this one leaves.
            around: what else the code is given. While a call is answered, other code may run.

        Raises:
            DiedError: the process has ended; no state is left.
            SetupError: there can be no sandbox.
        """
        with self._room:
            session = self._resume(past, images, machine, limits)
            run = Run(code, len(images), msgspec.structs.replace(around, answer=None), seconds=limits.seconds)
            try:
                reply, pixels = session.run(run, images, limits, self._with_room_free(around))
            except BaseException:
                session.child.kill()
                raise
            if not keeps:
                session.child.kill()
                return reply, pixels, past
            self._keep(past.problem, session)
            return reply, pixels, Past(past.problem, session.runs)

    def _with_room_free(self, around: Around) -> Around:
        """The same, but while a call is answered other code may run in the place of this one."""

        def answer(asked: Asked, pixels: Sequence[bytes]) -> Answer:
            self._room.release()
            try:
                return around.answer(asked, pixels) if around.answer else Answer(error="nothing answers")
            finally:
                self._room.acquire()

        return msgspec.structs.replace(around, answer=answer)

    def warm(self, machine: Machine) -> None:
        with self._lock:
            started = self._warm.setdefault(machine, [])
            while len(started) < self._max_warm:
                started.append(self._starter.submit(Child, machine))

    def close(self) -> None:
        with self._lock:
            started = [child for children in self._warm.values() for child in children]
            sessions = list(self._waiting.values())
            self._warm.clear()
            self._waiting.clear()
        for child in started:
            with suppress(Exception):
                child.result().kill()
        for session in sessions:
            session.child.kill()

    def _resume(self, past: Past, images: Sequence[Given], machine: Machine, limits: Limits) -> _Session:
        """The session of a problem if it waits in the state of `past`, else a new one in which that was run again."""
        with self._lock:
            session = self._waiting.pop(id(past.problem), None)
        if session and session.runs == past.runs:
            return session
        if session:  # its last code belonged to a reply that is drawn again
            session.child.kill()
        new = _Session(self._take_warm(machine))
        for run in past.runs:
            new.repeat(run, images, limits)
        return new

    def _take_warm(self, machine: Machine) -> Child:
        self.warm(machine)
        with self._lock:
            started = self._warm[machine].pop(0)
        self.warm(machine)
        try:
            child = started.result()
            child.ready()
        except Exception:
            self.close()
            raise
        return child

    def _keep(self, problem: SandboxProblem, session: _Session) -> None:
        """Let a session wait for its next piece of code; end the oldest ones where there are too many."""
        session.held = session.child.watch.held() if session.child.watch else 0
        oldest = list[_Session]()
        with self._lock:
            self._waiting[id(problem)] = session
            while len(self._waiting) > self._max_sessions or (
                len(self._waiting) > 1 and self._held() > _MAX_HELD * _memory()
            ):
                oldest.append(self._waiting.popitem(last=False)[1])
        if not getattr(problem, "is_watched", False):
            problem.is_watched = True  # type: ignore[attr-defined]
            weakref.finalize(problem, self._forget, id(problem)).atexit = False
        for each in oldest:
            each.child.kill()

    def _held(self) -> int:
        return sum(session.held for session in self._waiting.values())

    def _forget(self, problem: int) -> None:
        with self._lock:
            session = self._waiting.pop(problem, None)
        if session:
            session.child.kill()


@cache
def _memory() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def shared() -> Pool:
    """The pool of this process. Raises ConfigError: the variable that sets its size is no number."""
    return _of_process(os.getpid())


@cache
def _of_process(process: int) -> Pool:
    text = os.environ.get(AT_ONCE) or str(os.cpu_count() or 1)
    if not text.isdigit() or not 1 <= int(text) <= 1024:
        raise ConfigError(f"{AT_ONCE} is {text!r}, not a number from 1 to 1024", f"export {AT_ONCE}=4")
    pool = Pool(int(text))
    atexit.register(_close, pool, process)
    return pool


def _close(pool: Pool, process: int) -> None:
    """End all sandbox processes with the process that made the pool, not with a fork of it: no folder is left then."""
    if os.getpid() == process:
        pool.close()


__all__ = [
    "AT_ONCE",
    "Answer",
    "Around",
    "Asked",
    "CodeReply",
    "DiedError",
    "Given",
    "Image",
    "Limits",
    "Machine",
    "Past",
    "Pool",
    "SandboxProblem",
    "shared",
]  # fmt: skip
