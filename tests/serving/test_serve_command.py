"""`virc serve` up to the moment vLLM would start."""

import json
import shutil
import socket
from pathlib import Path

import pytest
from support.called import virc
from support.workspaces import empty_workspace

from virc.models.registry import EMBEDDED_FOLDER


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VIRC_CACHE", str(tmp_path / "cache"))
    return empty_workspace(monkeypatch, tmp_path)


def option(command: list[str], name: str) -> str:
    return command[command.index(name) + 1]


def test_a_dry_run_is_the_exact_command_and_shows_no_key(workspace: Path) -> None:
    words = "--dtype float32 --port 8123 --limit-images 7 --api-key abc123 --device cpu --json".split()
    done = virc("serve", "tiny", "--dry-run", *words)
    assert done.code == 0, done.err
    said = done.json
    command = said["command"]
    assert option(command, "--model") == str(EMBEDDED_FOLDER)
    assert option(command, "--served-model-name") == "tiny"
    assert option(command, "--port") == "8123"
    assert json.loads(option(command, "--limit-mm-per-prompt")) == {"image": 7, "video": 0}
    assert "abc123" not in done.out
    assert command[1:4] == ["-m", "virc.core.orphans", "virc.engines.vllm.cpu"]
    variables = {
        "VLLM_API_KEY": "***", "VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1", "VLLM_CPU_KVCACHE_SPACE": "1",
        "OMP_NUM_THREADS": "1", "VLLM_WORKER_MULTIPROC_METHOD": "fork",
    }  # fmt: skip
    assert said["environment"].items() >= variables.items()
    published = json.loads(said["files"][said["environment"]["VIRC_PUBLISHED"]])
    assert published["virc_protocol"]["system"].startswith("You answer")
    assert published["virc_grid"] == {"factor": 28, "min_pixels": 3136, "max_pixels": 63504, "longest": None}
    assert not list(workspace.parent.joinpath("workspace").iterdir())


def test_an_adapter_is_served_under_its_name_beside_its_base(workspace: Path) -> None:
    adapter = workspace / "mine"
    adapter.mkdir()
    settings = {"peft_type": "LORA", "base_model_name_or_path": str(EMBEDDED_FOLDER), "r": 12, "lora_alpha": 24}
    (adapter / "adapter_config.json").write_text(json.dumps(settings))
    (adapter / "adapter_model.safetensors").write_bytes(b"")
    shutil.copy(EMBEDDED_FOLDER / "virc_protocol.json", adapter)
    command = virc("serve", "mine", "--dry-run", "--json", "--device", "cpu").json["command"]
    assert option(command, "--lora-modules") == f"mine={adapter}"
    assert option(command, "--max-lora-rank") == "16"
    assert option(command, "--served-model-name") == "mine-base"
    (adapter / "adapter_config.json").write_text(json.dumps({**settings, "r": 513}))
    refused = virc("serve", "mine", "--dry-run", "--device", "cpu")
    assert (refused.code, "adapters of rank 512 at most, and this one has 513" in refused.err) == (3, True), refused.err


def test_a_port_in_use_is_said_before_anything_is_installed() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = virc("serve", "tiny", "--device", "cpu", "--port", taken.getsockname()[1])
    assert done.code == 3
    assert "is in use" in done.err
    assert "making the environment" not in done.err


JUDGES = """
name: school
judges:
  teacher: {folder: weights}
"""


def test_a_judge_is_served_in_plain_chat_with_room_for_an_answer(workspace: Path) -> None:
    (workspace / "school.yaml").write_text(JUDGES)
    shutil.copytree(EMBEDDED_FOLDER, workspace / "weights")
    words = ("serve", "teacher", "--system", "./school.yaml", "--dry-run", "--json", "--device", "cpu")
    said = virc(*words).json
    command = said["command"]
    assert option(command, "--served-model-name") == "teacher"
    assert json.loads(option(command, "--limit-mm-per-prompt"))["image"] == 4
    assert option(command, "--max-model-len") == "32768"
    published = json.loads(said["files"][said["environment"]["VIRC_PUBLISHED"]])
    assert "virc_protocol" not in published
    assert published["virc_grid"]["factor"] == 28
    command = virc(*words, "--limit-images", 9, "--max-model-len", 4096).json["command"]
    assert json.loads(option(command, "--limit-mm-per-prompt"))["image"] == 9
    assert option(command, "--max-model-len") == "4096"


def test_the_command_for_gpus(workspace: Path) -> None:
    options = "--device cuda --tensor-parallel-size 4 --data-parallel-size 2 --gpu-memory-utilization 0.85"
    words = f"{options} --image-cache 0.5 --max-model-len 8192".split()
    said = virc("serve", "tiny", "--dry-run", "--json", *words).json
    files = workspace.parent / "cache" / "serve" / "tiny-8000"
    assert said["command"][1:] == [
        *("-m", "virc.core.orphans", "vllm.entrypoints.openai.api_server"),
        *("--model", str(EMBEDDED_FOLDER), "--host", "127.0.0.1"),
        *("--port", "8000", "--dtype", "auto", "--tensor-parallel-size", "4", "--pipeline-parallel-size", "1"),
        *("--data-parallel-size", "2", "--limit-mm-per-prompt", '{"image": 20, "video": 0}'),
        *("--middleware", "virc.engines.vllm.gate.Published"),
        *("--middleware", "virc.engines.vllm.gate.Gate"),
        *("--mm-processor-cache-gb", "0.5", "--enable-prefix-caching", "--max-model-len", "8192"),
        *("--gpu-memory-utilization", "0.85", "--served-model-name", "tiny"),
    ]
    environment = said["environment"]
    assert environment["VLLM_MEDIA_CONNECTOR"] == "virc.engines.vllm.media"
    assert environment["VIRC_PUBLISHED"] == str(files / "published.json")
    assert json.loads(said["files"][str(files / "published.json")])["virc_image_ids"] is True
    two = virc("serve", "tiny", "--dry-run", "--json", "--device", "cuda", "--tensor-parallel-size", 2, "--gpus", "2,5")
    assert two.json["environment"]["CUDA_VISIBLE_DEVICES"] == "2,5"


def test_a_dry_run_shows_the_engine_on_the_loopback_with_a_key_of_its_own(workspace: Path) -> None:
    words = ("serve", "tiny", "--agent", "--device", "cpu", "--host", "0.0.0.0", "--port", 8123, "--api-key", "abc123")
    done = virc(*words, "--dry-run", "--json")
    assert done.code == 0, done.err
    said = done.json
    command = said["command"]
    assert command[command.index("--host") + 1] == "127.0.0.1"
    assert command[command.index("--port") + 1] != "8123"
    assert json.loads(command[command.index("--limit-mm-per-prompt") + 1])["image"] == 20
    assert said["environment"]["VLLM_API_KEY"] == "***"
    assert "abc123" not in done.out
    assert said["agent"] == {"url": "http://127.0.0.1:8123/v1", "model": "tiny", "turns": 16, "inputs": 4}
    done = virc(*words, "--dry-run", "--limit-images", 5)
    assert "url=http://127.0.0.1:8123/v1\n# at most 4 turns, about 1 image of a chat\n" in done.out
    assert not [*workspace.iterdir()]
