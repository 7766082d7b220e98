"""How vLLM starts and why it ended, from logs as vLLM 0.32 writes them; and the agent in front."""

import threading
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.loopback import free_port, until
from support.servers import serve as scripted

from virc.core.errors import EngineError
from virc.core.http import client
from virc.engines.vllm.log import reason
from virc.serving import start
from virc.serving.plan import ServePlan, VllmPlan
from virc.serving.settings import Config

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


@pytest.mark.integration
def test_an_agent_ends_when_its_vllm_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "vllm.log").write_text("ValueError: no room\n")
    ended = threading.Event()
    process: Any = SimpleNamespace(wait=lambda seconds=None: 1 if ended.wait(seconds) else None)
    with scripted([], models=("tiny",)) as behind:
        hidden = Config(port=behind.server_address[1])
        vllm = VllmPlan(hidden, "tiny", SimpleNamespace(), tmp_path / "vllm.log")  # type: ignore[arg-type]
        plan = ServePlan(Config(port=free_port()), "tiny", "vllm", vllm=vllm)
        monkeypatch.setattr(start, "prepare", lambda *_: plan)
        monkeypatch.setattr(start.vllm_process, "started_for", lambda *_: nullcontext(process))
        server = start.serve("tiny", agent=True)

        def kill() -> None:
            until(lambda: client.ask(server.url.replace("/v1", "/health"), seconds=60).status == 200)
            ended.set()

        threading.Thread(target=kill, daemon=True).start()
        with pytest.raises(EngineError, match="vLLM ended: no room"):
            server.wait()
