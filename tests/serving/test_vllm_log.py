"""How vLLM starts and why it ended, from logs as vLLM 0.32 writes them; and how often it is started again."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from virc.core.events import Event, Reporter
from virc.engines.vllm.log import reason, stage
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


API, CORE = "(APIServer pid=25568) INFO 11-23 09:13:50 ", "(EngineCore pid=25740) INFO 11-23 09:13:52 "
EAGER = f"""{API}[api_utils.py:286] non-default args: {{'host': '127.0.0.1', 'port': 18931, 'model': 'models/tiny'}}
(APIServer pid=25568) WARNING 11-23 09:13:50 [arg_utils.py:1945] The global random seed is set to 0.
{API}[model.py:733] Resolved architecture: Qwen2_5_VLForConditionalGeneration
{API}[model.py:2152] Using max model len 32768
{CORE}[core.py:133] Initializing a V1 LLM engine (v0.32.0) with config: model='models/tiny', tokenizer='models/tiny'
{API}[base.py:280] Multi-modal warmup completed in 0.156s
{CORE}[cpu_model_runner.py:68] Starting to load model models/tiny...
{CORE}[base_loader.py:82] Initializing model took 0.404560 seconds
Loading safetensors checkpoint shards: 100% Completed | 1/1 [00:00<00:00, 38.61it/s]
{CORE}[default_loader.py:501] Loading weights took 0.01 seconds
{CORE}[cpu_worker.py:260] Explicitly set (4.0/18.59) GiB for KV cache on node 0.
{CORE}[kv_cache_utils.py:2327] CPU KV cache size: 4,194,304 tokens, Maximum concurrency for 32,768 tokens per request
{CORE}[core.py:402] init engine (profile, create kv cache, warmup model) took 2.14 s
{API}[entry.py:140] Starting vLLM server on http://127.0.0.1:18931
INFO:     Application startup complete."""


def test_each_stage_of_the_start_is_found_in_the_log() -> None:
    assert [found for line in EAGER.splitlines() if (found := stage(line))] == [
        "model config",
        "engine process",
        "weights",
        "profiling",
        "KV cache",
        "HTTP server",
    ]


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
