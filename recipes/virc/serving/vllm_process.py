"""Starts vLLM, waits until it has answered a request, and ends it with all it started."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from itertools import pairwise
from pathlib import Path

from PIL import Image

from virc.backends.interface import Backend, Sampling
from virc.backends.openai.backend import OpenAIBackend
from virc.core import processes
from virc.core.errors import EngineError, VircError
from virc.core.events import Reporter
from virc.core.files import write_whole
from virc.core.plan import Plan
from virc.core.processes import Process
from virc.core.web import client
from virc.engines.vllm import log as vllm_log
from virc.reasoning.images import show
from virc.reasoning.session import Ask, Message


def ask_first(backend: Backend) -> None:
    """Ask about a small white picture. Raises VircError: as the backend."""
    white = show(Image.new("RGB", (56, 56), "white"), backend.grid)
    backend.reply(Ask((Message("user", "What is this?", (0,)),), (white,)), Sampling(max_tokens=1))


_POLL = 0.2  # seconds
_SHORTEST = 0.1  # seconds of a stage that is worth reporting
_FIRST_ANSWER = 300.0  # seconds: kernels are compiled for it


@contextmanager
def started(
    plan: Plan,
    url: str,
    name: str,
    key: str | None,
    log: Path,
    report: Reporter,
    on_process: Callable[[Process], None] = lambda _: None,
) -> Iterator[Process]:
    """A vLLM that has answered a request with an image; it ends with the block."""
    for path, text in plan.files.items():
        write_whole(Path(path), text.encode())
    log.unlink(missing_ok=True)
    with processes.started(plan.step, log) as process:
        on_process(process)
        stages = Stages(report)
        _await_health(process, url.removesuffix("/v1"), log, report, stages)
        stages.begin("first answer")
        try:
            with closing(OpenAIBackend(url, name, key, _FIRST_ANSWER, max_retries=0)) as backend:
                ask_first(backend)
        except VircError as error:
            raise EngineError(f"vLLM is up and does not answer: {error.message}", f"see {log}") from error
        stages.end()
        yield process


def ended(log: Path, code: int | None, when: str = "") -> EngineError:
    with log.open(encoding="utf-8", errors="replace") as file:
        reason = vllm_log.reason(file) or processes.last_words(log, code)
    return EngineError(f"vLLM ended{when}: {reason}", f"see {log}")


class Stages:
    """Reports what vLLM does while it starts, and in the end how long it took."""

    def __init__(self, report: Reporter) -> None:
        self._report, self._began = report, [("imports", time.monotonic())]
        report.start(self._line())

    def begin(self, stage: str) -> None:
        if stage != self._began[-1][0]:
            self._began.append((stage, time.monotonic()))
            self._report.start(self._line())

    def go_on(self) -> None:
        self._report.progress(self._line())

    def end(self) -> None:
        """Report the seconds of all stages; the shortest are left out."""
        seconds: dict[str, float] = {}
        for (stage, began), (_, ended) in pairwise([*self._began, ("", time.monotonic())]):
            seconds[stage] = seconds.get(stage, 0) + ended - began
        shown = ", ".join(f"{stage} {took:.1f} s" for stage, took in seconds.items() if took >= _SHORTEST)
        self._report.note(f"vLLM started in {sum(seconds.values()):.1f} s: {shown}")

    def _line(self) -> str:
        return f"vLLM is starting, {time.monotonic() - self._began[0][1]:.0f} s: {self._began[-1][0]}"


def _await_health(process: Process, root: str, log: Path, report: Reporter, stages: Stages) -> None:
    with log.open(encoding="utf-8", errors="replace") as lines:
        begun = ""  # of a line that vLLM has not ended yet
        while not _is_healthy(root):
            code = process.wait(_POLL)
            for piece in lines:
                line, begun = begun + piece, ""
                if not line.endswith("\n"):
                    begun = line
                    break
                report.log(line.rstrip())
                if stage := vllm_log.stage(line):
                    stages.begin(stage)
            if code is not None:
                raise ended(log, code, " before it was ready")
            stages.go_on()


def _is_healthy(root: str) -> bool:
    try:
        return client.ask(f"{root}/health", seconds=2).status == 200
    except OSError:
        return False
