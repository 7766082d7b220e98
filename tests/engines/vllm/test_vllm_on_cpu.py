"""vLLM's server on a CPU, on stand-ins for vLLM: classes of models are read here, and the garbage collector is back."""

import gc
import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.stand_ins import stand_in

from virc.engines.vllm import cpu


def test_the_server_starts_with_the_classes_of_its_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[Any] = []
    registry = SimpleNamespace(
        models={"Qwen": SimpleNamespace(load_model_cls=lambda: "class"), "Other": None},
        register_model=lambda *given: done.append(given),
    )

    class CpuPlatform:
        @staticmethod
        def check_and_update_config(config: Any) -> None:
            os.environ["VLLM_WORKER_MULTIPROC_METHOD"] = "spawn"
            done.append((config, gc.isenabled()))

    stand_in(monkeypatch, {
        "vllm.model_executor.models": {"ModelRegistry": registry}, "vllm.platforms.cpu": {"CpuPlatform": CpuPlatform},
    })  # fmt: skip
    monkeypatch.setenv("VLLM_WORKER_MULTIPROC_METHOD", "fork")
    monkeypatch.setattr(gc, "freeze", lambda: done.append("frozen"))
    monkeypatch.setattr(cpu.runpy, "run_module", lambda name, **how: done.append((name, how)))
    (tmp_path / "config.json").write_text(json.dumps({"architectures": ["Qwen", "Unknown"]}))
    monkeypatch.setattr(sys, "argv", ["cpu", "--host", "h", "--model", str(tmp_path)])
    try:
        cpu.main()
        CpuPlatform.check_and_update_config("settings")
        assert gc.isenabled()
    finally:
        gc.enable()
    server = ("vllm.entrypoints.openai.api_server", {"run_name": "__main__", "alter_sys": True})
    assert done == [("Qwen", "class"), server, ("settings", False), "frozen"]
    assert os.environ["VLLM_WORKER_MULTIPROC_METHOD"] == "fork", "several processes are forked, whatever vLLM says"
    (tmp_path / "config.json").write_text("{}")
    assert cpu._architectures(tmp_path) == []
