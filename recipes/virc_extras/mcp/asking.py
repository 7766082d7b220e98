"""Asks the model: loaded at the first question, in a bounded number of threads, each stopped when nobody waits."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress

import msgspec

from virc.core.errors import DataError
from virc.core.events import Reporter
from virc.core.limits.image_memory import of_client
from virc.core.text import plain
from virc.core.timeouts import Deadline
from virc.core.work.threads import started
from virc.models.load import Opened
from virc.reasoning.images import Shown
from virc.reasoning.opening.pictures import shown
from virc.reasoning.session import Rejected, Unit
from virc.serving.agent.request_queue import LeftError
from virc.solving import one
from virc.solving.batch import workers_for
from virc.solving.image_source import Unfolded
from virc.solving.one import Event, SampleStart, Solved
from virc.solving.setup import Setup, open_setup
from virc.solving.traces.page import in_words

MAX_WAITING = 64

SECONDS = 600.0
"""Longest time for one question if none is chosen, in seconds."""

OnStep = Callable[[str], None]


class Model:
    def __init__(self, setup: Callable[[], Setup], report: Reporter, at_once: int | None = None) -> None:
        self._setup, self._report, self._at_once = setup, report, at_once
        self._loading: asyncio.Future[tuple[Setup, Opened]] | None = None
        self._turns: asyncio.Semaphore | None = None
        self._waiting = 0

    async def ask(
        self, files: Sequence[Unfolded], question: str, samples: int, on_step: OnStep
    ) -> tuple[Opened, Solved, Sequence[Shown]]:
        """The model, its answer, and the pictures as it saw them; cancelled, the model stops at its next word.
        `on_step` gets a line about each step, in the thread of the event loop.
        """
        if self._waiting >= MAX_WAITING:
            raise DataError("too many questions are waiting: ask again later")
        self._waiting += 1
        left, loop = threading.Event(), asyncio.get_running_loop()

        def tell(line: str) -> None:
            if left.is_set():
                raise LeftError("nobody waits for the answer")
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(on_step, line)

        def give_back() -> None:
            assert self._turns
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(self._turns.release)

        try:
            setup, opened = await self._opened(on_step)
            assert self._turns
            await self._turns.acquire()
            done = started(lambda: _solved(setup, opened, files, question, samples, tell))
            done.add_done_callback(lambda _: give_back())  # also if its client has left before
            return opened, *await asyncio.wrap_future(done)
        finally:
            left.set()
            self._waiting -= 1

    def close(self) -> None:
        if self._loading and self._loading.done() and not self._loading.cancelled() and not self._loading.exception():
            self._loading.result()[1].close()

    async def _opened(self, on_step: OnStep) -> tuple[Setup, Opened]:
        """The model; loaded by the first who asks, also if that one is gone before the end."""
        if self._loading is None or (self._loading.done() and self._loading.exception()):
            on_step("loading the model")
            self._loading = asyncio.wrap_future(started(self._open))
            self._loading.add_done_callback(lambda done: done.cancelled() or done.exception())  # it is seen by someone
        setup, opened = await asyncio.shield(self._loading)
        if self._turns is None:
            self._turns = asyncio.Semaphore(workers_for(self._at_once, opened, self._report.note))
        return setup, opened

    def _open(self) -> tuple[Setup, Opened]:
        setup = self._setup()
        return setup, open_setup(setup, self._report, lambda _: None)[0]


def _solved(
    setup: Setup, opened: Opened, files: Sequence[Unfolded], question: str, samples: int, tell: Callable[[str], None]
) -> tuple[Solved, Sequence[Shown]]:
    config = msgspec.structs.replace(setup.config, samples=samples, keep_images=True)
    turns = 0

    def on_event(event: Event) -> None:
        nonlocal turns
        match event:
            case SampleStart():
                turns = 0
                tell(f"sample {event.number} of {event.total}" if event.total > 1 else "the model reads the picture")
            case Unit():
                turns += 1
                done = ", ".join(map(in_words, event.calls)) or ("answer" if event.answer is not None else "error")
                tell(f"turn {turns}: {plain(done, 200)}")
            case Rejected():
                tell(f"turn {turns + 1}: a reply could not be used")
            case _:
                tell("")  # raises if nobody waits

    deadline = Deadline(config.timeout or SECONDS)
    protocol, grid = opened.chat_protocol, opened.backend.grid
    terms = of_client(lambda: tell(""))
    try:  # when it is their turn: at their full size, all that wait would fill the memory
        pictures = [shown(*each.file, protocol, grid, terms) for each in files]
    except ValueError as error:
        raise DataError(str(error)) from error
    for picture, part in zip(pictures, files, strict=True):
        picture.place, picture.medium = part.place, part.medium
    solved = one.solve(config, opened.backend, protocol, pictures, question, on_event=on_event, deadline=deadline)
    return solved, pictures
