"""Serves a model by vLLM: starts it, waits until it answers, and ends it with all it started."""

import base64
import io
import json
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from virc.core import processes
from virc.core.errors import EngineError
from virc.core.plan import Plan
from virc.core.processes import Process
from virc.core.text import clause
from virc.engines.vllm import log as vllm_log
from virc.serving.settings import Config
from virc_cli.console import endpoint, plans, progress

_LOOK = 1.0  # seconds
_ANSWER = 300.0  # seconds that the first answer may take: kernels are made for it


def run(config: Config, plan: Plan, name: str, log: Path, as_json: bool) -> None:
    """Start vLLM, wait until it answers, and end it with all it started.

    Raises:
        EngineError: it ended.
        KeyboardInterrupt: it was asked to end, and has ended.
    """
    with ready(config, plan, name, log) as process:
        endpoint.announce(config, name, str(log), as_json)
        code = process.wait()
    raise ended(log, code)


@contextmanager
def ready(config: Config, plan: Plan, name: str, log: Path) -> Iterator[Process]:
    """A vLLM that has answered; it is ended with all it started when the block ends.

    Raises:
        EngineError: it ended before that.
    """
    plans.write(plan)
    log.unlink(missing_ok=True)
    with processes.started(plan.step, log) as process:
        _await_ready(process, endpoint.url(config), name, config.api_key, log)
        yield process


def ended(log: Path, code: int | None) -> EngineError:
    """What is said of a vLLM that has ended by itself."""
    return EngineError(f"vLLM ended: {_why(log, code)}", f"see {log}")


def _await_ready(process: Process, url: str, name: str, key: str | None, log: Path) -> None:
    """Wait for /health, then for one real answer about a picture: a server is ready when it answers, not before."""
    began = time.monotonic()
    with progress.shown() as show:
        while not _healthy(url.removesuffix("/v1")):
            code = process.wait(_LOOK)
            if code is not None:
                raise EngineError(f"vLLM ended before it was ready: {_why(log, code)}", f"see {log}")
            show(f"vLLM is starting, {time.monotonic() - began:.0f} s")
        show("vLLM is up; the first answer takes longest")
        try:
            _answered(url, name, key)
        except (OSError, ValueError, KeyError, IndexError) as error:
            raise EngineError(f"vLLM is up and does not answer: {clause(error)}", f"see {log}") from error


def _why(log: Path, code: int | None) -> str:
    with log.open(encoding="utf-8", errors="replace") as file:
        return vllm_log.reason(file) or processes.last_words(log, code)


def _healthy(root: str) -> bool:
    try:
        with urllib.request.urlopen(f"{root}/health", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _answered(url: str, name: str, key: str | None) -> None:
    content = [
        {"type": "image_url", "image_url": {"url": _white()}},
        {"type": "text", "text": "What is this?"},
    ]
    body = {"model": name, "messages": [{"role": "user", "content": content}], "max_tokens": 1}
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
    request = urllib.request.Request(f"{url}/chat/completions", json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=_ANSWER) as answer:
        said: dict[str, Any] = json.loads(answer.read())
    said["choices"][0]["message"]


def _white() -> str:
    """A small white picture as a data URL."""
    from PIL import Image

    file = io.BytesIO()
    Image.new("RGB", (56, 56), "white").save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
