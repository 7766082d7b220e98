"""vLLM 0.32: a model's settings as its options and environment."""

import json
from pathlib import Path

import msgspec

from virc.backends.lora_config import read_lora_config as read_adapter
from virc.core.errors import ConfigError
from virc.core.plan import Plan, Step
from virc.engines import environment as engines
from virc.envs import hardware
from virc.models.registry import Weights
from virc.reasoning.resize import MAX_PIXELS
from virc.stages.serve import Config

PUBLISHED = "published.json"
_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
_MIDDLEWARE = ("virc.engines.vllm.gate.Published", "virc.engines.vllm.gate.Gate")
_LAUNCHER = "virc.core.orphans"
_SERVERS = {"cuda": "vllm.entrypoints.openai.api_server", "cpu": "virc.engines.vllm.cpu"}
_MEDIA = "virc.engines.vllm.media"


class Place(msgspec.Struct, frozen=True):
    """What a server is started with; `published` is what clients can read of it, as JSON."""

    weights: Weights
    published: str
    files: Path
    python: Path
    recipes: Path


def plan(config: Config, place: Place) -> Plan:
    server = _SERVERS["cpu" if config.device == "cpu" else "cuda"]
    argv = (str(place.python), "-m", _LAUNCHER, server, *options(config, place))
    step = Step(argv, "serve with vLLM", hardware.pinned(environment(config, place)), is_engine=True)
    return Plan(step, {str(place.files / PUBLISHED): place.published})


def options(config: Config, place: Place) -> tuple[str, ...]:
    """vLLM's options. Raises ConfigError: the rank of the adapter is over the largest that vLLM serves."""
    name = config.served_name(place.weights.name)
    found = [
        ("--model", str(place.weights.folder.absolute())),
        ("--host", config.host),
        ("--port", str(config.port)),
        ("--dtype", config.dtype),
        ("--tensor-parallel-size", str(config.tensor_parallel_size)),
        ("--pipeline-parallel-size", str(config.pipeline_parallel_size)),
        ("--data-parallel-size", str(config.data_parallel_size)),
        ("--limit-mm-per-prompt", json.dumps({"image": config.limit_images, "video": 0})),
        *(("--middleware", each) for each in _MIDDLEWARE),  # the last is the first to see a request
        ("--mm-processor-cache-gb", f"{config.image_cache:g}"),
        ("--enable-prefix-caching",),  # a conversation grows by a turn at a time
    ]
    found += [("--max-model-len", str(config.max_model_len))] if config.max_model_len else []
    if config.device == "cpu":
        found += [("--enforce-eager",)]  # compiling takes minutes, and small models gain nothing
    else:
        found += [("--gpu-memory-utilization", str(config.gpu_memory_utilization))]
    if place.weights.adapter:
        rank = read_adapter(place.weights.adapter).rank
        room = next((each for each in _RANKS if rank <= each), None)
        if room is None:
            raise ConfigError(f"vLLM serves adapters of rank {_RANKS[-1]} at most, and this one has {rank}")
        found += [("--served-model-name", f"{name}-base"), ("--enable-lora",), ("--max-lora-rank", str(room))]
        found += [("--lora-modules", f"{name}={place.weights.adapter.absolute()}")]
    else:
        found += [("--served-model-name", name)]
    return tuple(word for option in found for word in option)


def environment(config: Config, place: Place) -> dict[str, str]:
    env = {
        **engines.environment(place.recipes),
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_MEDIA_CONNECTOR": _MEDIA,
        "VLLM_MAX_IMAGE_PIXELS": str(MAX_PIXELS),
        "VLLM_CACHE_ROOT": str(place.files / "vllm"),
        "VIRC_PUBLISHED": str(place.files / PUBLISHED),
        "VLLM_API_KEY": config.only_key or "",
    }
    if config.gpus:
        env["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, config.gpus))
    if config.device == "cpu":
        # Each of several processes gets threads of its own before it starts; a fork imports nothing again.
        shared = config.tensor_parallel_size * config.pipeline_parallel_size * config.data_parallel_size > 1
        env |= {
            "VLLM_CPU_KVCACHE_SPACE": str(config.cache_gib),
            "OMP_NUM_THREADS": "1",
            "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # one process less to start and to end
            "VLLM_WORKER_MULTIPROC_METHOD": "spawn" if shared else "fork",
        }
    return env
