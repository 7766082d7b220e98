"""An engine that is started again when it ends by itself."""

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Self

from virc.core.errors import EngineError, VircError
from virc.core.events import Reporter
from virc.core.processes import Process
from virc.core.text import clause
from virc.serving import vllm_process

MAX_RESTARTS, RESTART_WINDOW = 3, 1800.0
"""Times that an engine is started again within so many seconds: one that ends more often needs its user."""

Start = Callable[[Callable[[Process], None]], AbstractContextManager[Process]]
"""Starts the engine, and calls back as soon as its process runs; it has answered when the context is entered."""


class Supervised:
    """Keeps an engine running until its block ends.

    Attributes:
        running: whether it has answered, and has not ended since.
        failure: why it was given up.
    """

    def __init__(self, start: Start, log: Path, report: Reporter) -> None:
        self._start, self._log, self._report = start, log, report
        self._context = ExitStack()
        self._process: Process | None = None
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self.running = False
        self.failure: VircError | None = None

    def __enter__(self) -> Self:
        self._begin()
        return self

    def __exit__(self, *error: object) -> None:
        self._closing.set()
        if self._thread and self._process:
            self._process.end()
            self._thread.join()
        self._context.close()

    def watch(self, give_up: Callable[[], None], is_ending: Callable[[], bool] = lambda: False) -> None:
        """Start it again whenever it ends; `give_up` is called when that does not help.

        Args:
            is_ending: whether it is needed no more: a signal that ends all processes of a service ends it first.
        """
        self._thread = threading.Thread(target=self._watch, args=(give_up, is_ending), name="virc-engine", daemon=True)
        self._thread.start()

    def _begin(self) -> None:
        self._context.enter_context(self._start(self._keep))
        self.running = True

    def _keep(self, process: Process) -> None:
        self._process = process
        if self._closing.is_set():
            process.end()

    def _watch(self, give_up: Callable[[], None], is_ending: Callable[[], bool]) -> None:
        ends: list[float] = []
        while not self._closing.is_set():
            assert self._process
            code = self._process.wait()
            self.running = False
            if self._closing.is_set() or is_ending():
                return
            ends = [end for end in ends if end > time.monotonic() - RESTART_WINDOW] + [time.monotonic()]
            try:
                self._start_again(code, len(ends))
            except VircError as error:
                self.failure = error
            except Exception as error:  # its log cannot be written, the caller's `on_event` fails ...
                self.failure = EngineError(f"vLLM cannot be started again: {clause(error)}")
            if self.failure:
                give_up()
                return

    def _start_again(self, code: int | None, number: int) -> None:
        ended = vllm_process.ended(self._log, code)
        times = f"{MAX_RESTARTS} times in {round(RESTART_WINDOW / 60)} minutes"
        if number > MAX_RESTARTS:
            raise EngineError(f"{ended.message}; it was started again {times}", ended.hint)
        kept = self._log.with_suffix(".old.log")
        self._report.warn(f"{ended.message}; it is started again, {number} of at most {times}", f"see {kept}")
        self._context.close()  # ends what it started, too
        self._log.replace(kept)
        self._begin()
        self._report.note("vLLM answers again")
