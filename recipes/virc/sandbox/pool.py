"""Processes of the sandbox that are ready before they are needed, and those that keep the state of a problem.

A problem has a process of its own. What it holds follows from the pieces of code that were run in it, one after the
other: where the process had to make room for others, a new one runs them again.
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
from virc.sandbox.calls import NOTHING, Answer, Around, Asked, Image, Reply, Request
from virc.sandbox.child import Child
from virc.sandbox.isolator import Machine
from virc.sandbox.watch import DiedError

AT_ONCE = "VIRC_PYTHON_AT_ONCE"
"""The variable that says how many programs one process of virc may run at the same time."""
_WARM = 4  # processes that wait, at most
_KEPT = 8  # for each that may run: problems whose processes wait for the next piece of code
_FILES = 6  # that this process has open for each; they may be half of those that it may open
_MAX_HELD = 0.5  # of the machine's memory, by all processes that wait for the next piece of code


class Run(msgspec.Struct, frozen=True):
    """A piece of code that was run, and how many images there were then.

    Args:
        answered: its calls of functions, with the digest of their images' pixels, and what they got back: code that
            runs again gets the same.
        seconds: of the clock that it was given; None: as many as the next piece of code.
    """

    code: str
    images: int
    around: Around = NOTHING
    answered: tuple[tuple[Asked, str, Answer], ...] = ()
    seconds: float | None = None


class Problem:
    """A problem that code is run for; what it keeps is given up when nothing refers to it any more."""


class Past(msgspec.Struct, frozen=True):
    """What was run for a problem, in order, as far as its state is kept."""

    problem: Problem
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


class _Kept:
    def __init__(self, child: Child) -> None:
        self.child, self.runs, self.given = child, tuple[Run, ...](), 0
        self.held = 0  # bytes of memory, while it waits

    def run(self, run: Run, images: Sequence[Given], limits: Limits, around: Around) -> tuple[Reply, list[bytes]]:
        new = images[self.given : run.images]
        request = Request(
            run.code, tuple(each.image for each in new), limits.files, limits.max_images, limits.max_pixels,
            limits.max_characters, 0, around.variables, around.functions, around.max_calls,
        )  # fmt: skip
        answered = list[tuple[Asked, str, Answer]]()

        def answer(asked: Asked, pixels: Sequence[bytes]) -> Answer:
            given = around.answer(asked, pixels) if around.answer else Answer(error="nothing answers")
            answered.append((asked, _digest(pixels), given))
            return given

        found = self.child.run(request, [each.png() for each in new], limits.seconds, answer)
        done = msgspec.structs.replace(run, answered=tuple(answered))
        self.runs, self.given = (*self.runs, done), max(self.given, run.images)
        return found

    def repeat(self, run: Run, images: Sequence[Given], limits: Limits) -> None:
        """Run a piece of code that was run before, and answer its calls as then. Raises DiedError."""
        left = list(run.answered)

        def answer(asked: Asked, pixels: Sequence[bytes]) -> Answer:
            known, before, given = left.pop(0) if left else (None, "", Answer())
            if known is None or (known.name, known.arguments, before) != (asked.name, asked.arguments, _digest(pixels)):
                raise DiedError("Error: code that ran before went another way when it ran again. Its state is lost.")
            return given

        around = msgspec.structs.replace(run.around, answer=answer)
        limits = msgspec.structs.replace(limits, seconds=run.seconds or limits.seconds)
        self.run(run, images, limits, around)
        self.runs = (*self.runs[:-1], run)


def _digest(pixels: Sequence[bytes]) -> str:
    found = hashlib.sha256()
    for each in pixels:
        found.update(each)
    return found.hexdigest()


class Pool:
    """The processes of the sandbox of one process of virc."""

    def __init__(self, at_once: int) -> None:
        import resource  # not on Windows, where pipelines import this module all the same

        self._room = threading.BoundedSemaphore(at_once)
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2
        self._max_kept = max(1, min(at_once * _KEPT, files // _FILES))
        self._max_warm = min(at_once, _WARM)
        self._lock = threading.RLock()  # a problem may be given up at any time, also where it is held
        # The kernel ends a child with the thread that started it, so that this thread lasts as long as the process.
        self._starter = ThreadPoolExecutor(1, "virc-sandbox")
        self._warm: dict[Machine, list[Future[Child]]] = {}
        self._kept: OrderedDict[int, _Kept] = OrderedDict()

    def run(
        self,
        past: Past,
        code: str,
        images: Sequence[Given],
        machine: Machine,
        limits: Limits,
        keeps: bool,
        around: Around = NOTHING,
    ) -> tuple[Reply, list[bytes], Past]:
        """Run a piece of code for a problem.

        Args:
            keeps: whether the next piece of code finds what this one leaves.
            around: what else the code is given. While a call is answered, other code may run.

        Raises:
            DiedError: the process has ended; no state is left.
            SetupError: there can be no sandbox.
        """
        with self._room:
            kept = self._resumed(past, images, machine, limits)
            run = Run(code, len(images), msgspec.structs.replace(around, answer=None), seconds=limits.seconds)
            try:
                reply, pixels = kept.run(run, images, limits, self._outside(around))
            except BaseException:
                kept.child.kill()
                raise
            if not keeps:
                kept.child.kill()
                return reply, pixels, past
            self._keep(past.problem, kept)
            return reply, pixels, Past(past.problem, kept.runs)

    def _outside(self, around: Around) -> Around:
        """The same, with the place of the code free for others while a call is answered."""

        def answer(asked: Asked, pixels: Sequence[bytes]) -> Answer:
            self._room.release()
            try:
                return around.answer(asked, pixels) if around.answer else Answer(error="nothing answers")
            finally:
                self._room.acquire()

        return msgspec.structs.replace(around, answer=answer)

    def warm(self, machine: Machine) -> None:
        with self._lock:
            waiting = self._warm.setdefault(machine, [])
            while len(waiting) < self._max_warm:
                waiting.append(self._starter.submit(Child, machine))

    def close(self) -> None:
        with self._lock:
            waiting = [each for some in self._warm.values() for each in some]
            kept = list(self._kept.values())
            self._warm.clear()
            self._kept.clear()
        for each in waiting:
            with suppress(Exception):
                each.result().kill()
        for one in kept:
            one.child.kill()

    def _resumed(self, past: Past, images: Sequence[Given], machine: Machine, limits: Limits) -> _Kept:
        with self._lock:
            kept = self._kept.pop(id(past.problem), None)
        if kept and kept.runs == past.runs:
            return kept
        if kept:  # a reply was drawn again, whose calls had run
            kept.child.kill()
        new = _Kept(self._taken(machine))
        for run in past.runs:
            new.repeat(run, images, limits)
        return new

    def _taken(self, machine: Machine) -> Child:
        self.warm(machine)
        with self._lock:
            waiting = self._warm[machine].pop(0)
        self.warm(machine)
        try:
            child = waiting.result()
            child.ready()
        except Exception:
            self.close()
            raise
        return child

    def _keep(self, problem: Problem, kept: _Kept) -> None:
        kept.held = kept.child.watch.held() if kept.child.watch else 0
        oldest = list[_Kept]()
        with self._lock:
            self._kept[id(problem)] = kept
            while len(self._kept) > self._max_kept or (len(self._kept) > 1 and self._held() > _MAX_HELD * _memory()):
                oldest.append(self._kept.popitem(last=False)[1])
        if not getattr(problem, "is_watched", False):
            problem.is_watched = True  # type: ignore[attr-defined]
            weakref.finalize(problem, self._forget, id(problem)).atexit = False
        for each in oldest:
            each.child.kill()

    def _held(self) -> int:
        return sum(each.held for each in self._kept.values())

    def _forget(self, problem: int) -> None:
        with self._lock:
            kept = self._kept.pop(problem, None)
        if kept:
            kept.child.kill()


@cache
def _memory() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def shared() -> Pool:
    """Raises ConfigError: the variable that says how large it is holds no number."""
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
    """End all at the end of the process that has the pool, so that no control group or folder is left; of no fork."""
    if os.getpid() == process:
        pool.close()


__all__ = [
    "AT_ONCE", "Answer", "Around", "Asked", "DiedError", "Given", "Image", "Limits", "Machine", "Past", "Pool",
    "Problem", "Reply", "shared",
]  # fmt: skip
