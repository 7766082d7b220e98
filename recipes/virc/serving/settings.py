"""Which engine serves a model, with which settings, and whether it fits this machine."""

import sys
from collections.abc import Mapping
from math import ceil
from pathlib import Path
from typing import Any

import msgspec

from virc.backends.checkpoint import file_bytes, parameters, read_json
from virc.backends.gguf.model import SUFFIX
from virc.config.options import Engine
from virc.core.errors import ConfigError, SetupError, UsageError
from virc.core.options import marked
from virc.envs.hardware import GIB, Machine
from virc.models import sizes
from virc.models.registry import Weights
from virc.reasoning.protocol import Protocol
from virc.reasoning.resize import Grid
from virc.stages.serve import INPUTS, TURNS, Config

OF_A_JUDGE: Mapping[str, int] = {"limit_images": INPUTS, "max_model_len": 32_768}
"""Defaults for a judge, which reads a question and its answers, and replies in one turn."""

_AT_ONCE = 16  # conversations of the model's full length, for which the cache of keys and values has room
_OVERHEAD = 1.15  # times the weights is what they need, before any cache of keys and values
_VLLM_ONLY = (
    "gpus", "tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size", "gpu_memory_utilization",
    "image_cache",
)  # fmt: skip


def turns_and_inputs(images: int) -> tuple[int, int]:
    """Turns of a solution, and images of its question, in a conversation of at most `images` images."""
    if images < 2:
        raise UsageError(
            "«--limit-images 1» leaves no room for a crop in addition to the picture", "«--limit-images 2»"
        )
    inputs = max(1, images - TURNS)
    return min(TURNS, images - inputs), inputs


def choose_engine(chosen: Engine | None, model: str | None = None, platform: str = sys.platform) -> Engine:
    """The chosen engine; else llama.cpp for a GGUF file, and vLLM if it has builds."""
    if model and model.lower().endswith(SUFFIX):
        if chosen not in (None, "llamacpp"):
            raise UsageError(f"{model} is a GGUF file, which {chosen} does not read", "«--engine llamacpp»")
        return "llamacpp"
    if chosen == "vllm" and platform != "linux":
        raise SetupError("vLLM runs on Linux only", "«--engine transformers», for one request at a time")
    return chosen or ("vllm" if platform == "linux" else "transformers")


def configure(engine: Engine, chosen: Mapping[str, Any], weights: Weights) -> Config:
    foreign = [name for name in _VLLM_ONLY if name in chosen and engine != "vllm"]
    if foreign:
        option = marked(foreign[0])
        raise UsageError(f"{option} means nothing to «--engine {engine}»", "leave it out, or «--engine vllm»")
    if engine == "vllm" and chosen.get("device") == "mps":
        raise UsageError("vLLM does not run on mps", "«--engine transformers»")
    if engine == "llamacpp" and "dtype" in chosen:
        raise UsageError("«--dtype» means nothing to «--engine llamacpp»", "the file has its own")
    longest = _longest(weights)
    if longest and chosen.get("max_model_len", 1) > longest:
        raise ConfigError(
            f"{weights.name} takes {longest} tokens, fewer than {chosen['max_model_len']}",
            f"«--max-model-len {longest}»",
        )
    defaults = dict(OF_A_JUDGE) if weights.judge else {}
    if weights.judge and longest:
        defaults["max_model_len"] = min(defaults["max_model_len"], longest)
    if engine == "vllm":
        defaults["cache_gib"] = _cache_gib(weights.folder, longest)
    return Config(**{**defaults, **chosen})


def _cache_gib(folder: Path, longest: int | None) -> int:
    """GiB of main memory for keys and values: less for a small model, as vLLM first fills all of it with zeros."""
    most = Config().cache_gib
    try:
        text = sizes.of_folder(folder).text
    except ConfigError:
        return most
    token = 2 * text.keys * text.num_hidden_layers * 4  # bytes, in float32
    return min(most, ceil(_AT_ONCE * longest * token / GIB)) if longest else most


def _longest(weights: Weights) -> int | None:
    if weights.gguf:
        return weights.gguf.context
    config = read_json(weights.folder / "config.json")
    parts = (part for part in (config.get("text_config"), config) if isinstance(part, dict))
    limits = (part.get("max_position_embeddings") for part in parts)
    return next((limit for limit in limits if isinstance(limit, int)), None)


def published(grid: Grid, protocol: Protocol | None, image_ids: bool) -> str:
    """What a client needs to ask a model as it was trained, as JSON; `protocol` is None for a model of plain chat."""
    fields: dict[str, object] = {"virc_grid": grid}
    if protocol:
        fields["virc_protocol"] = protocol
    if image_ids:
        fields["virc_image_ids"] = True
    return msgspec.json.encode(fields).decode()


def weights_gib(folder: Path, dtype: str) -> float:
    if "quantization_config" in read_json(folder / "config.json"):
        return file_bytes(folder) / GIB
    return parameters(folder) * (4 if dtype == "float32" else 2) / GIB


def refuse_unfit(config: Config, name: str, gib: float, here: Machine) -> None:
    """Refuse a model that cannot fit this machine, before anything is installed, downloaded or started."""
    misfit = _misfit(config, gib, here)
    if misfit:
        hint = "a smaller model, or a larger machine"
        if config.device == "cuda" and here.gpus:
            hint = "«--gpus N» chooses others, «--tensor-parallel-size N» takes more; or a smaller model"
        raise SetupError(f"{name} {misfit}", (config.device == "cuda" and here.trouble) or hint)


def _misfit(config: Config, gib: float, here: Machine) -> str | None:
    shards, size = config.tensor_parallel_size * config.pipeline_parallel_size, gib * _OVERHEAD
    devices = shards * config.data_parallel_size
    if config.device != "cuda":
        needed, free = size * config.data_parallel_size + config.cache_gib, here.free_gib
        return f"needs {needed:.1f} GiB, and {free:.1f} GiB of main memory are free" if needed > free else None
    if len(here.gpus) < devices:
        return f"needs {devices} GPU{'s' if devices > 1 else ''}, and this machine has {len(here.gpus) or 'none'}"
    chosen = config.gpus or range(len(here.gpus))
    if max(chosen, default=-1) >= len(here.gpus):
        return f"needs GPU {max(chosen)}, and the last of this machine is GPU {len(here.gpus) - 1}"
    free_of_gpus = [here.gpus[number].free_gib for number in chosen]
    if len(set(chosen)) < max(devices, len(chosen)):
        return (
            f"needs {devices} GPUs, and «--gpus» names {len(set(chosen))}{', twice' if len(chosen) >= devices else ''}"
        )
    needed, free = size / shards, min(free_of_gpus[:devices]) * config.gpu_memory_utilization
    return f"needs {needed:.1f} GiB, and {free:.1f} GiB of a GPU may be used" if needed > free else None
