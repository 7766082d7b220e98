"""Settings of an endpoint: which of vLLM's options and variables each becomes, by hand."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from virc.core.errors import ConfigError
from virc.engines.vllm import plan as vllm
from virc.models.registry import Weights
from virc.stages.serve import Config

FILES = Path("/tmp/serve")


def place(name: str = "models/mine", adapter: Path | None = None) -> vllm.Place:
    weights = Weights(name, Path("/models/base"), adapter=adapter)
    return vllm.Place(weights, '{"virc_protocol": {}}', FILES, Path("/env/python"), Path("/recipes"))


def options(where: vllm.Place, **given: Any) -> dict[str, list[str]]:
    """vLLM's options, each with its values."""
    found: dict[str, list[str]] = {}
    words = list(vllm.options(Config(**given), where))
    while words:
        values = found.setdefault(words.pop(0), [])
        if words and not words[0].startswith("--"):
            values.append(words.pop(0))
    return found


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({}, {"--model": ["/models/base"], "--host": ["127.0.0.1"], "--port": ["8000"], "--enforce-eager": None,
              "--served-model-name": ["mine"], "--gpu-memory-utilization": ["0.9"], "--max-model-len": None,
              "--middleware": ["virc.engines.vllm.gate.Published", "virc.engines.vllm.gate.Gate"],
              "--trust-remote-code": None, "--enable-prefix-caching": []}),
        ({"host": "::", "port": 9, "name": "other", "dtype": "float16"},
         {"--host": ["::"], "--port": ["9"], "--served-model-name": ["other"], "--dtype": ["float16"]}),
        ({"tensor_parallel_size": 2, "pipeline_parallel_size": 3, "data_parallel_size": 4, "max_model_len": 4096,
          "limit_images": 7},
         {"--tensor-parallel-size": ["2"], "--pipeline-parallel-size": ["3"], "--data-parallel-size": ["4"],
          "--max-model-len": ["4096"], "--limit-mm-per-prompt": ['{"image": 7, "video": 0}']}),
        ({"device": "cpu"}, {"--enforce-eager": [], "--gpu-memory-utilization": None}),
    ],
)  # fmt: skip
def test_a_setting_becomes_an_option(given: dict[str, Any], wanted: dict[str, Sequence[str] | None]) -> None:
    found = options(place(), **given)
    assert {name: found.get(name) for name in wanted} == wanted


@pytest.mark.parametrize(("rank", "room"), [(9, "16"), (512, "512")])
def test_an_adapter_is_served_in_the_room_of_its_rank(rank: int, room: str, tmp_path: Path) -> None:
    found = options(place(adapter=adapter(tmp_path, rank)))
    assert found["--max-lora-rank"] == [room]
    assert found["--lora-modules"] == [f"mine={tmp_path}"]
    assert found["--served-model-name"] == ["mine-base"]
    assert "--enable-lora" in found


def adapter(folder: Path, rank: int) -> Path:
    settings = {"peft_type": "LORA", "base_model_name_or_path": "/models/base", "r": rank}
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    return folder


def test_an_adapter_that_vllm_has_no_room_for_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="adapters of rank 512 at most, and this one has 513"):
        options(place(adapter=adapter(tmp_path, 513)))


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({}, {"VLLM_API_KEY": "", "CUDA_VISIBLE_DEVICES": None, "VLLM_MEDIA_CONNECTOR": "virc.engines.vllm.media",
              "VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1", "VIRC_PUBLISHED": f"{FILES}/published.json",
              "VLLM_CPU_KVCACHE_SPACE": None}),
        ({"api_key": "sk-secret", "gpus": (2, 5)}, {"VLLM_API_KEY": "sk-secret", "CUDA_VISIBLE_DEVICES": "2,5"}),
        ({"device": "cpu", "cache_gib": 3},
         {"VLLM_CPU_KVCACHE_SPACE": "3", "OMP_NUM_THREADS": "1", "VLLM_WORKER_MULTIPROC_METHOD": "fork"}),
        ({"device": "cpu", "tensor_parallel_size": 2}, {"VLLM_WORKER_MULTIPROC_METHOD": "spawn"}),
    ],
)  # fmt: skip
def test_the_server_gets_its_key_and_devices_by_variables(given: dict[str, Any], wanted: dict[str, str | None]) -> None:
    planned = vllm.plan(Config(**given), place())
    assert {name: planned.step.env.get(name) for name in wanted} == wanted
    assert "sk-secret" not in " ".join(planned.step.argv)
    assert planned.files == {f"{FILES}/published.json": '{"virc_protocol": {}}'}
    server = "virc.engines.vllm.cpu" if given.get("device") == "cpu" else "vllm.entrypoints.openai.api_server"
    assert planned.step.argv[:4] == ("/env/python", "-m", "virc.core.orphans", server)
