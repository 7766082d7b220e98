"""`virc serve` up to the moment vLLM would start."""

import json
import shutil
import socket
from pathlib import Path

import msgspec
import pytest
from support.called import virc

from virc.core.errors import SetupError
from virc.envs.hardware import Gpu, Machine
from virc.models import registry as models
from virc.models.registry import EMBEDDED_FOLDER, Weights
from virc.serving import start
from virc.serving.settings import choose_engine, configure, refuse_unfit, weights_gib
from virc.stages.serve import Config
from virc.systems import registry as systems

SHAPES = Path(models.__file__).parent / "shapes"


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "workspace"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("VIRC_CACHE", str(tmp_path / "cache"))
    return folder


def option(command: list[str], name: str) -> str:
    return command[command.index(name) + 1]


def test_a_dry_run_is_the_exact_command_and_shows_no_key(workspace: Path) -> None:
    words = (
        "--dtype",
        "float32",
        "--port",
        8123,
        "--limit-images",
        7,
        "--api-key",
        "abc123",
        "--device",
        "cpu",
        "--json",
    )
    done = virc("serve", "tiny", "--dry-run", *words)
    assert done.code == 0, done.err
    said = done.json
    command = said["command"]
    assert option(command, "--model") == str(EMBEDDED_FOLDER)
    assert option(command, "--served-model-name") == "tiny"
    assert option(command, "--port") == "8123"
    assert json.loads(option(command, "--limit-mm-per-prompt")) == {"image": 7, "video": 0}
    assert "abc123" not in done.out
    assert said["environment"]["VLLM_API_KEY"] == "***"
    assert said["environment"]["VLLM_NO_USAGE_STATS"] == "1"
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


def test_a_port_in_use_is_said_before_anything_is_installed() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = virc("serve", "tiny", "--device", "cpu", "--port", taken.getsockname()[1])
    assert done.code == 3
    assert "is in use" in done.err
    assert "making the environment" not in done.err


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["nothing-like-it"], 3, "no model 'nothing-like-it'"),
        (["tiny", "--host", "http://localhost"], 3, "not an address to listen on"),
        (["tiny", "--port", "0"], 2, "--port"),
        (["tiny", "--device", "gpu"], 2, "gpu"),
        (["tiny", "--device", "mps"], 2, "vLLM does not run on mps"),
        (["tiny", "--engine", "sglang"], 2, "sglang"),
        (
            ["tiny", "--engine", "transformers", "--tensor-parallel-size", "2"],
            2,
            "--tensor-parallel-size means nothing",
        ),
        (["tiny", "--engine", "transformers", "--image-cache", "0"], 2, "--image-cache means nothing"),
        (["tiny", "--engine", "transformers", "--gpus", "1"], 2, "--gpus means nothing"),
        (["tiny", "--gpus", "1,two"], 2, "--gpus 1,two is not a list of numbers"),
        (["tiny", "--gpus", "1,1"], 2, "--gpus 1,1 is not a list of numbers"),
        (["tiny", "--max-model-len", "40000"], 3, "takes 32768 tokens, fewer than 40000"),
    ],
)
def test_a_mistake_is_one_sentence(words: list[str], code: int, said: str) -> None:
    done = virc("serve", *words)
    assert done.code == code, done.err
    assert said in done.err


def machine(*gib: float, memory: float = 100) -> Machine:
    gpus = tuple(Gpu("GPU", each, each, "570") for each in gib)
    return Machine(cores=8, memory_gib=memory, free_gib=memory, disk_gib=100, gpus=gpus)


CUDA, CPU = Config(device="cuda"), Config(device="cpu", cache_gib=4)


def refused(config: Config, gib: float, here: Machine) -> tuple[str, str | None]:
    judges = systems.get("virc").judges
    with pytest.raises(SetupError) as caught:
        refuse_unfit(config, "judge", gib, here, judges)
    return caught.value.message, caught.value.hint


def test_a_model_that_does_not_fit_is_refused_with_what_does() -> None:
    refuse_unfit(CUDA, "seven", 15.5, machine(24))
    message, hint = refused(CUDA, 136.8, machine(80, 80, 80, 80))
    assert message == "judge needs 157.3 GiB, and 72.0 GiB of a GPU may be used"
    assert hint == "--tensor-parallel-size 4"
    assert refused(CUDA, 136.8, machine(80, 80))[1] == "virc serve judge-32b"
    assert refused(CUDA, 136.8, machine(40, 40, 40, 40))[1] == "virc serve judge-32b --tensor-parallel-size 2"
    assert refused(CUDA, 136.8, machine(24))[1] == "virc serve judge-7b"
    assert refused(CUDA, 7, machine(2))[1] == "a smaller model, or a larger machine"
    two = msgspec.structs.replace(CUDA, tensor_parallel_size=2)
    assert refused(two, 7, machine(24))[0] == "judge needs 2 GPUs, and this machine has 1"
    assert "this machine has none" in refused(CUDA, 7, machine())[0]


def test_gpus_that_are_named_are_those_that_count() -> None:
    judge = msgspec.structs.replace(CUDA, gpus=(4, 5, 6, 7), tensor_parallel_size=4)
    refuse_unfit(judge, "judge", 136.8, machine(*[5] * 4, *[80] * 4))
    message, _ = refused(judge, 136.8, machine(*[80] * 4, *[5] * 4))
    assert message == "judge needs 39.3 GiB, and 4.5 GiB of a GPU may be used"
    assert "needs GPU 7, and the last of this machine is GPU 5" in refused(judge, 136.8, machine(*[80] * 6))[0]
    few = msgspec.structs.replace(judge, gpus=(4, 5))
    assert "needs 4 GPUs, and --gpus names 2" in refused(few, 136.8, machine(*[80] * 8))[0]


def test_named_gpus_share_every_layer_and_are_all_that_vllm_sees(workspace: Path) -> None:
    said = virc("serve", "tiny", "--dry-run", "--json", "--device", "cuda", "--gpus", "4,5,6,7").json
    assert said["environment"]["CUDA_VISIBLE_DEVICES"] == "4,5,6,7"
    command = said["command"]
    assert command[command.index("--tensor-parallel-size") + 1] == "4"
    words = ("--device", "cuda", "--gpus", "4,5", "--data-parallel-size", 2)
    command = virc("serve", "tiny", "--dry-run", "--json", *words).json["command"]
    assert command[command.index("--tensor-parallel-size") + 1] == "1"


def test_main_memory_holds_the_weights_and_the_cache_where_there_is_no_gpu() -> None:
    refuse_unfit(CPU, "three", 7, machine(memory=13))
    message, hint = refused(CPU, 136.8, machine(memory=13))
    assert message == "judge needs 161.3 GiB, and 13.0 GiB of main memory are free"
    assert hint == "virc serve judge-3b"
    assert "of main memory are free" in refused(msgspec.structs.replace(CPU, cache_gib=8), 7, machine(memory=13))[0]


def test_quantised_weights_count_as_they_lie_in_their_files(tmp_path: Path) -> None:
    plain = weights_gib(EMBEDDED_FOLDER, "auto")
    assert weights_gib(EMBEDDED_FOLDER, "float32") == 2 * plain
    folder = tmp_path / "quantised"
    shutil.copytree(EMBEDDED_FOLDER, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "quantization_config": {"bits": 4}}))
    size = (folder / "model.safetensors").stat().st_size
    assert weights_gib(folder, "float32") == size / 2**30


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


def test_a_judge_that_is_not_here_is_named_with_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", "nowhere")
    done = virc("serve", "judge-3b", "--dry-run")
    assert done.code == 3
    assert "Qwen/Qwen2.5-VL-3B-Instruct, 7 GiB, is not on this machine" in done.err
    assert "then virc serve judge-3b" in done.err
    assert "did you mean 'judge-3b'?" in virc("serve", "judge-3bb", "--dry-run").err


def test_a_base_that_is_also_a_judge_still_belongs_to_no_system() -> None:
    assert models.known("Qwen/Qwen2.5-VL-7B-Instruct") == (None, None)
    assert set(models.judges("judge")) == {"judge", "judge-72b-awq", "judge-32b", "judge-7b", "judge-3b"}
    assert models.judges("tiny") == {}


def test_vllm_is_the_engine_where_it_has_builds() -> None:
    assert choose_engine(None, platform="linux") == "vllm"
    assert choose_engine("transformers", platform="linux") == "transformers"
    assert choose_engine(None, platform="darwin") == choose_engine(None, platform="win32") == "transformers"
    with pytest.raises(SetupError, match="Linux only"):
        choose_engine("vllm", platform="darwin")


ON_A_CPU = {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "OMP_NUM_THREADS": "1",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_WORKER_MULTIPROC_METHOD": "fork",
}


@pytest.mark.parametrize(
    ("model", "missing", "engine"),
    [("tiny", "uv", "llamacpp"), ("tiny", None, "vllm"), ("tiny", "xllamacpp", "vllm"), ("ViRC-7B", "uv", "vllm")],
)
def test_llamacpp_serves_a_model_of_the_package_where_nothing_else_is_installed(
    model: str, missing: str | None, engine: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """After `pip install '.[llamacpp]'` there is no uv to make vLLM's environment with."""
    monkeypatch.setenv("VIRC_CACHE", str(tmp_path))
    found = {"uv", "xllamacpp", "torch"} - {missing}
    monkeypatch.setattr(start, "find_spec", lambda name: name in found or None)
    chosen = start.only_by_llamacpp("vllm", start.ServeRequest(model))
    assert chosen == (engine == "llamacpp")


def test_the_command_for_a_cpu_leaves_out_what_takes_long() -> None:
    said = virc("serve", "tiny", "--dry-run", "--json", "--device", "cpu").json
    assert said["command"][1:4] == ["-m", "virc.core.orphans", "virc.engines.vllm.cpu"]
    assert "--enforce-eager" in said["command"]
    assert {name: said["environment"].get(name) for name in ON_A_CPU} == ON_A_CPU
    assert said["environment"]["PYTHONDONTWRITEBYTECODE"] == ""
    several = virc("serve", "tiny", "--dry-run", "--json", "--device", "cpu", "--tensor-parallel-size", 2).json
    assert several["environment"]["VLLM_WORKER_MULTIPROC_METHOD"] == "spawn"


@pytest.mark.parametrize(("context", "length"), [(4096, 4096), (131_072, 32_768), (None, 32_768)])
def test_a_judge_has_a_context_of_its_own_within_its_models(context: int | None, length: int, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"max_position_embeddings": context} if context else {}))
    assert configure("transformers", {}, Weights("judge", tmp_path, judge=True)).max_model_len == length


def test_a_small_model_gets_a_small_cache_unless_one_is_chosen(tmp_path: Path) -> None:
    tiny = models.find("tiny", tmp_path)
    assert configure("vllm", {}, tiny).cache_gib == 1
    assert configure("vllm", {"cache_gib": 3}, tiny).cache_gib == 3
    large = json.loads((SHAPES / "Qwen--Qwen2.5-VL-3B-Instruct.json").read_text())
    for config in ({**large, "max_position_embeddings": 128_000}, large, {"model_type": "another"}):
        (tmp_path / "config.json").write_text(json.dumps(config))
        assert configure("vllm", {}, Weights("other", tmp_path)).cache_gib == 4
    # 16 conversations of 1024 tokens, each of 2 x 2 x 128 numbers of 4 bytes in 36 layers: 1.1 GiB
    (tmp_path / "config.json").write_text(json.dumps({**large, "max_position_embeddings": 1024}))
    assert configure("vllm", {}, Weights("other", tmp_path)).cache_gib == 2


def test_the_command_for_gpus(workspace: Path) -> None:
    words = (
        "--device",
        "cuda",
        "--tensor-parallel-size",
        4,
        "--data-parallel-size",
        2,
        "--gpu-memory-utilization",
        0.85,
        "--image-cache",
        0.5,
        "--max-model-len",
        8192,
    )
    said = virc("serve", "tiny", "--dry-run", "--json", *words).json
    files = workspace.parent / "cache" / "serve" / "tiny-8000"
    assert said["command"][1:] == [
        *(
            "-m",
            "virc.core.orphans",
            "vllm.entrypoints.openai.api_server",
            "--model",
            str(EMBEDDED_FOLDER),
            "--host",
            "127.0.0.1",
        ),
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
    assert not environment.keys() & ON_A_CPU.keys()
    assert json.loads(said["files"][str(files / "published.json")])["virc_image_ids"] is True


def test_images_have_no_ids_where_none_are_kept() -> None:
    said = virc("serve", "tiny", "--dry-run", "--json", "--device", "cpu", "--image-cache", 0).json
    assert option(said["command"], "--mm-processor-cache-gb") == "0"
    assert "virc_image_ids" not in json.loads(said["files"][said["environment"]["VIRC_PUBLISHED"]])
