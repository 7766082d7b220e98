"""Starts vLLM, waits until it has answered a request, and ends all of it."""

import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

from PIL import Image

from virc.backends.chat.backend import OpenAIBackend
from virc.backends.interface import Backend, Sampling
from virc.core import processes
from virc.core.errors import EngineError, VircError
from virc.core.events import Reporter
from virc.core.http import client
from virc.core.plan import Plan, write_files
from virc.core.processes import Process
from virc.engines.vllm import log as vllm_log
from virc.reasoning.images import show
from virc.reasoning.session import Ask, Message
from virc.serving import address
from virc.serving.plan import VllmPlan


def ask_first(backend: Backend) -> None:
    white = show(Image.new("RGB", (56, 56), "white"), backend.grid)
    backend.reply(Ask((Message("user", "What is this?", (0,)),), (white,)), Sampling(max_tokens=1))


_POLL = 0.2  # seconds
_FIRST_ANSWER = 300.0  # seconds: kernels are compiled for it


@contextmanager
def started(plan: Plan, url: str, name: str, key: str | None, log: Path, report: Reporter) -> Iterator[Process]:
    """A vLLM that has answered a request with an image; it ends with the block."""
    write_files(plan)
    log.unlink(missing_ok=True)
    with processes.started(plan.step, log) as process:
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


def started_for(plan: VllmPlan, report: Reporter) -> AbstractContextManager[Process]:
    """As `started`, for what `prepare` made."""
    processes.report_removed(plan.plan.step, os.environ, report)
    url, key = address.url(plan.config), plan.config.only_key
    return started(plan.plan, url, plan.name, key, plan.log, report)
