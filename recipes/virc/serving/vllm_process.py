"""Starts vLLM, waits until it has answered a request, starts it again when it ends by itself, and ends all of it."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from pathlib import Path
from typing import Self

from PIL import Image

from virc.backends.chat.backend import OpenAIBackend
from virc.backends.interface import Backend, Sampling
from virc.core import processes
from virc.core.errors import EngineError, VircError
from virc.core.events import Reporter
from virc.core.http import client
from virc.core.plan import Plan, write_files
from virc.core.processes import Process
from virc.core.text import clause
from virc.engines.vllm import log as vllm_log
from virc.reasoning.images import show
from virc.reasoning.session import Ask, Message
from virc.serving import address
from virc.serving.plan import VllmPlan

MAX_RESTARTS, RESTART_WINDOW = 3, 1800.0
"""An engine is started again at most so many times within so many seconds; then the server gives up."""
Start = Callable[[Callable[[Process], None]], AbstractContextManager[Process]]
"""Starts the engine, and calls back as soon as its process runs; it has answered when the context is entered."""


def ask_first(backend: Backend) -> None:
    white = show(Image.new("RGB", (56, 56), "white"), backend.grid)
    backend.reply(Ask((Message("user", "What is this?", (0,)),), (white,)), Sampling(max_tokens=1))


_POLL = 0.2  # seconds
_FIRST_ANSWER = 300.0  # seconds: kernels are compiled for it


@contextmanager
def started(
    plan: Plan, url: str, name: str, key: str | None, log: Path, report: Reporter,
    on_process: Callable[[Process], None] = lambda _: None,
) -> Iterator[Process]:  # fmt: skip
    """A vLLM that has answered a request with an image; it ends with the block."""
    write_files(plan)
    log.unlink(missing_ok=True)
    with processes.started(plan.step, log) as process:
        on_process(process)
        began = time.monotonic()
        _await_health(process, url.removesuffix("/v1"), log, report, began)
        report.start(_starting(began, "first answer"))
        try:
            with closing(OpenAIBackend(url, name, key, _FIRST_ANSWER, max_retries=0)) as backend:
                ask_first(backend)
        except VircError as error:
            raise EngineError(f"vLLM is up and does not answer: {error.message}", f"see {log}") from error
        report.note(f"vLLM started in {time.monotonic() - began:.1f} s")
        yield process


def ended(log: Path, code: int | None, when: str = "") -> EngineError:
    with log.open(encoding="utf-8", errors="replace") as file:
        reason = vllm_log.reason(file) or processes.last_words(log, code)
    return EngineError(f"vLLM ended{when}: {reason}", f"see {log}")


def _await_health(process: Process, root: str, log: Path, report: Reporter, began: float) -> None:
    stage = "imports"
    report.start(_starting(began, stage))
    with log.open(encoding="utf-8", errors="replace") as lines:
        begun = ""  # the beginning of a line that vLLM has not ended yet
        while not _is_healthy(root):
            code = process.wait(_POLL)
            for piece in lines:
                line, begun = begun + piece, ""
                if not line.endswith("\n"):
                    begun = line
                    break
                report.log(line.rstrip())
                if (now := vllm_log.stage(line) or stage) != stage:
                    stage = now
                    report.start(_starting(began, stage))
            if code is not None:
                raise ended(log, code, " before it was ready")
            report.progress(_starting(began, stage))


def _starting(began: float, stage: str) -> str:
    return f"vLLM is starting, {time.monotonic() - began:.0f} s: {stage}"


def _is_healthy(root: str) -> bool:
    try:
        return client.ask(f"{root}/health", seconds=2).status == 200
    except OSError:
        return False


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

        `is_ending` says whether it is needed no more: a signal that ends all processes of a service ends it first.
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
        failure = ended(self._log, code)
        times = f"{MAX_RESTARTS} times in {round(RESTART_WINDOW / 60)} minutes"
        if number > MAX_RESTARTS:
            raise EngineError(f"{failure.args[0]}; it was started again {times}", failure.unspelled_hint)
        kept = self._log.with_suffix(".old.log")
        self._report.warn(f"{failure.message}; it is started again, {number} of at most {times}", f"see {kept}")
        self._context.close()  # ends what it started, too
        self._log.replace(kept)
        self._begin()
        self._report.note("vLLM answers again")


def started_for(
    plan: VllmPlan, report: Reporter, on_process: Callable[[Process], None] = lambda _: None
) -> AbstractContextManager[Process]:
    """As `started`, for what `prepare` made."""
    processes.report_removed(plan.plan.step, os.environ, report)
    url, key = address.url(plan.config), plan.config.only_key
    return started(plan.plan, url, plan.name, key, plan.log, report, on_process)


class Behind:
    """The vLLM behind an agent endpoint.

    Each start gets a new port and key, so that no other process can wait at the port and take the requests.

    Attributes:
        plan: of the latest start.
        move: makes the agent's backend use a new address and key; None until that backend is open.
    """

    def __init__(self, plan: VllmPlan, report: Reporter) -> None:
        self.plan, self._report = plan, report
        self.move: Callable[[str, str | None], None] | None = None

    @contextmanager
    def started(self, on_process: Callable[[Process], None]) -> Iterator[Process]:
        self.plan = self.plan.hidden()
        with started_for(self.plan, self._report, on_process) as process:
            if self.move:
                self.move(address.url(self.plan.config), self.plan.config.only_key)
            yield process
