"""An endpoint for a model: its settings, and what it needs. What vLLM gets of them is in `engines/vllm.py`."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from virc.backends.checkpoint import file_bytes, image_grid, image_settings, parameters, read_json
from virc.core.errors import ConfigError, SetupError, UsageError
from virc.envs.hardware import GIB, Machine
from virc.models.registry import Weights
from virc.reasoning.protocol import Protocol
from virc.systems.registry import Model

Engine = Literal["vllm", "transformers"]
TURNS, INPUTS = 16, 4
"""Turns of a solution, each of which may show one image more, and images of its question."""
OF_A_JUDGE: Mapping[str, int] = {"images": INPUTS, "context": 32_768}
"""What is enough for a judge, which sees a question and what was answered, and reasons in one turn."""

Count = Annotated[int, Meta(ge=1)]
_OVERHEAD = 1.15  # of the weights, before any cache of keys and values
_OF_VLLM = ("gpus", "tensor", "pipeline", "data", "memory", "image_cache")


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """How a model is served.

    Args:
        host, port: where it listens.
        name: what clients call the model; None: the model's own name.
        device: where it runs; None: the best found.
        dtype: of weights and activations; `auto`: as in the model's config.
        tensor, pipeline, data: devices that share every layer, that take layers in turn, and that hold a copy each.
        memory: share of each GPU's memory that vLLM takes.
        gpus: numbers of the GPUs that it takes; None: the first ones.
        cache_gib: main memory for keys and values, where the device is the CPU.
        context: longest conversation in tokens; None: as long as the model takes.
        images: most images of one conversation.
        image_cache: GiB of main memory for images that come again, in each of vLLM's processes; 0: none is kept.
        api_key: clients must send it; it reaches vLLM by its environment, where no list of processes shows it.
    """

    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=1, le=65_535)] = 8000
    name: str | None = None
    device: Literal["cpu", "cuda", "mps"] | None = None
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = "auto"
    tensor: Count = 1
    pipeline: Count = 1
    data: Count = 1
    memory: Annotated[float, Meta(gt=0, le=1)] = 0.9
    gpus: tuple[Annotated[int, Meta(ge=0)], ...] | None = None
    cache_gib: Count = 4
    context: Count | None = None
    images: Count = TURNS + INPUTS
    image_cache: Annotated[float, Meta(ge=0)] = 4.0
    api_key: str | None = None


def looks(images: int) -> tuple[int, int]:
    """Turns of a solution, and images of its question, in a conversation of at most `images` images (D40).

    Raises:
        UsageError: there is no room for both.
    """
    if images < 2:
        raise UsageError(
            "--limit-images 1 leaves the model nothing to look at but the question", "--limit-images 2"
        )
    inputs = max(1, images - TURNS)
    return min(TURNS, images - inputs), inputs


def choose_engine(asked: Engine | None, platform: str = sys.platform) -> Engine:
    """The engine that was asked for; else vLLM where it has builds.

    Raises:
        SetupError: vLLM was asked for, and has none for this platform.
    """
    if asked == "vllm" and platform != "linux":
        raise SetupError("vLLM runs on Linux only", "--engine transformers, for one request at a time")
    return asked or ("vllm" if platform == "linux" else "transformers")


def configure(engine: Engine, given: Mapping[str, Any], weights: Weights) -> Config:
    """The settings of a server.

    Args:
        given: those that somebody chose.

    Raises:
        UsageError: one of them means nothing to the engine.
        ConfigError: the model's context is shorter.
    """
    foreign = [name for name in _OF_VLLM if name in given and engine != "vllm"]
    if foreign:
        option = foreign[0].replace("_", "-")
        raise UsageError(f"--{option} means nothing to --engine {engine}", "leave it out, or --engine vllm")
    if engine == "vllm" and given.get("device") == "mps":
        raise UsageError("vLLM does not run on mps", "--engine transformers")
    longest = _context(weights.folder)
    if longest and given.get("context", 1) > longest:
        raise ConfigError(
            f"{weights.name} takes {longest} tokens, fewer than {given['context']}",
            f"--max-model-len {longest}",
        )
    usual = dict(OF_A_JUDGE) if weights.judge else {}
    if "context" in usual and longest:
        usual["context"] = min(usual["context"], longest)
    return Config(**{**usual, **given})


def _context(folder: Path) -> int | None:
    """The longest conversation in tokens that a model's config.json allows, where it says so."""
    config = read_json(folder / "config.json")
    for part in (config.get("text_config"), config):
        longest = part.get("max_position_embeddings") if isinstance(part, dict) else None
        if isinstance(longest, int):
            return longest
    return None


def served_name(config: Config, weights: Weights) -> str:
    """What clients call the model."""
    return config.name or weights.name.rstrip("/").rsplit("/", 1)[-1]


def published(weights: Weights, protocol: Protocol | None, image_ids: bool) -> str:
    """What clients need to know of a model to speak to it as it was trained, as JSON.

    Args:
        protocol: its chat protocol; None for a model of plain chat.
        image_ids: whether an image that was sent before may be sent as its id.

    Raises:
        ConfigError: the model's image settings make no sense.
    """
    told: dict[str, object] = {"virc_grid": image_grid(image_settings(weights.folder))}
    if protocol:
        told["virc_protocol"] = protocol
    if image_ids:
        told["virc_image_ids"] = True
    return msgspec.json.encode(told).decode()


def weights_gib(folder: Path, dtype: str) -> float:
    """GiB that a model's weights take once they are loaded."""
    if "quantization_config" in read_json(folder / "config.json"):
        return file_bytes(folder) / GIB
    return parameters(folder) * (4 if dtype == "float32" else 2) / GIB


def refuse_unfit(
    config: Config, name: str, gib: float, here: Machine, others: Mapping[str, Model] | None = None
) -> None:
    """Refuse what cannot fit this machine, before anything is installed, fetched or started.

    Args:
        name: of the model.
        gib: of its weights.
        others: models that would do as well, by name; the hint names the largest that fits.

    Raises:
        SetupError: too few GPUs, or less memory than the weights alone take.
    """
    misfit = _misfit(config, gib, here)
    if misfit:
        hint = _what_fits(config, gib, here, others or {}) or (
            here.trouble if config.device == "cuda" else None
        )
        raise SetupError(f"{name} {misfit}", hint or "a smaller model, or a larger machine")


def _misfit(config: Config, gib: float, here: Machine) -> str | None:
    """Why weights of that size do not fit; None where they do."""
    devices, size = config.tensor * config.pipeline * config.data, gib * _OVERHEAD
    if config.device == "cuda":
        if len(here.gpus) < devices:
            return (
                f"is to be served on {devices} GPU{'s' * (devices > 1)}, here are {len(here.gpus) or 'none'}"
            )
        chosen = config.gpus or range(len(here.gpus))
        if max(chosen, default=-1) >= len(here.gpus):
            return f"is to be served on GPU {max(chosen)}, and the last here is {len(here.gpus) - 1}"
        free = sorted((here.gpus[number].free_gib for number in chosen), reverse=True)
        if len(free) < devices:
            return f"is to be served on {devices} GPUs, and {len(free)} are named"
        least = free[devices - 1]
        needed, there = size / (config.tensor * config.pipeline), least * config.memory
        what = "may be taken of a GPU"
    else:
        needed, there, what = size * config.data + config.cache_gib, here.free_gib, "of main memory are free"
    return f"needs {needed:.1f} GiB, and {there:.1f} GiB {what}" if needed > there else None


def _what_fits(config: Config, gib: float, here: Machine, others: Mapping[str, Model]) -> str | None:
    """Options with which it fits, else the largest of the others that does."""
    if tensor := _tensor(config, gib, here):
        return f"--tensor-parallel-size {tensor}"
    sizes = sorted(((model.gib, name) for name, model in others.items() if model.gib), reverse=True)
    for each, name in sizes:
        tensor = _tensor(config, each, here)
        if each < gib and tensor:
            return f"virc serve {name}" + (f" --tensor-parallel-size {tensor}" if tensor > 1 else "")
    return None


def _tensor(config: Config, gib: float, here: Machine) -> int | None:
    """The fewest devices, a power of two, over which weights of that size fit; None where they do not."""
    most = len(config.gpus or here.gpus) if config.device == "cuda" else 1
    for tensor in (1 << power for power in range(most.bit_length())):
        if _misfit(msgspec.structs.replace(config, tensor=tensor), gib, here) is None:
            return tensor
    return None


def check_address(host: str) -> None:
    """Refuse what is no address to listen on.

    Raises:
        ConfigError: it is a URL, or empty.
    """
    if not host or "/" in host:
        raise ConfigError(
            f"{host!r} is no address to listen on", "--host 127.0.0.1, or 0.0.0.0 for other machines"
        )
