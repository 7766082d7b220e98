"""How vLLM starts and why it ended, from logs as vLLM 0.32 writes them; and how often it is started again."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from virc.core.events import Event, Reporter
from virc.engines.vllm.log import reason
from virc.serving import vllm_process

PREFIX = "(EngineCore pid=19045) ERROR 11-20 19:55:17 [core.py:1510] "
MISSING = "ValueError: There is no module or parameter named 'head.weight' in Qwen2Model."
SECOND = "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}"
UNKNOWN = """Traceback (most recent call last):
  File "dataclasses.py", line 121, in __init__
pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig
  Value error, The checkpoint has model type `nonesuch` but Transformers does not recognize it.

    For further information visit https://errors.pydantic.dev/2.14/v/value_error"""


@pytest.mark.parametrize(
    ("log", "said"),
    [
        (
            f"{PREFIX}    raise ValueError(msg)\n{PREFIX}{MISSING}\n    raise RuntimeError(\n{SECOND}",
            "there is no module or parameter named 'head.weight' in Qwen2Model",
        ),
        (UNKNOWN, "the checkpoint has model type `nonesuch` but Transformers does not recognize it"),
        ("torch.OutOfMemoryError: CUDA out of memory. Tried 2 GiB.\n", "CUDA out of memory. Tried 2 GiB"),
        (f"OSError: first\n{MISSING}\n  File 'x'", "there is no module or parameter named 'head.weight' in Qwen2Model"),
        ("INFO: all is well\nError: \n", None),
    ],
)
def test_the_reason_is_what_was_raised_first_hand(log: str, said: str | None) -> None:
    assert reason(log.splitlines()) == said


@pytest.mark.parametrize(("seconds", "starts"), [(1.0, 4), (601.0, 8)], ids=["at once", "seldom"])
def test_an_engine_that_ends_seldom_is_always_started_again(
    seconds: float, starts: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, begun, closed, gave_up = [0.0], list[int](), list[int](), list[bool]()
    monkeypatch.setattr(vllm_process, "time", SimpleNamespace(monotonic=lambda: clock[0]))

    def wait() -> int:
        clock[0] += seconds
        return 1

    @contextmanager
    def start_engine(keep: Callable[[Any], None]) -> Iterator[Any]:
        begun.append(1)
        (tmp_path / "vllm.log").write_text("ValueError: no room\n")
        assert len(begun) - len(closed) == 1  # what ended is cleared away before another begins
        keep(process := SimpleNamespace(wait=wait, end=lambda: None))
        try:
            yield process
        finally:
            closed.append(1)

    events: list[Event] = []
    with vllm_process.Supervised(start_engine, tmp_path / "vllm.log", Reporter(events.append)) as engine:
        engine.watch(lambda: gave_up.append(True), lambda: len(begun) == 8)
        assert engine._thread
        engine._thread.join(60)
    assert (len(begun), gave_up, engine.running) == (starts, [True] * (starts == 4), False)
    said = [event.text for event in events if event.kind == "warning"]
    assert "vLLM ended: no room; it is started again, 1 of at most 3 times in 30 minutes" in said[0]
    if starts == 4:
        assert "it was started again 3 times in 30 minutes" in str(engine.failure)
        assert len(said) == 3
