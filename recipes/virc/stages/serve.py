"""The settings of an endpoint; `engines/vllm/plan.py` turns them into the options of vLLM."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Count = Annotated[int, Meta(ge=1)]
TURNS, INPUTS = 16, 4
"""Turns of a solution, each of which may show one image more, and images of its question."""


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """How a model is served.

    Args: as of the options of `serve`, and
        gpus: numbers among those that the shell shows; None: the first ones.
        cache_gib: GiB of main memory for keys and values, on the CPU; by default less for a small model.
        image_cache: in each of the processes of vLLM.
        api_key: clients must send it, or one of them; it reaches vLLM by its environment, where no list of processes
            shows it, and which has room for one.
    """

    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=1, le=65_535)] = 8000
    name: str | None = None
    device: Literal["cpu", "cuda", "mps"] | None = None
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = "auto"
    tensor_parallel_size: Count = 1
    pipeline_parallel_size: Count = 1
    data_parallel_size: Count = 1
    gpu_memory_utilization: Annotated[float, Meta(gt=0, le=1)] = 0.9
    gpus: tuple[Annotated[int, Meta(ge=0)], ...] | None = None
    cache_gib: Count = 4
    max_model_len: Count | None = None
    limit_images: Count = TURNS + INPUTS
    image_cache: Annotated[float, Meta(ge=0)] = 4.0
    api_key: str | tuple[str, ...] | None = None

    @property
    def only_key(self) -> str | None:
        assert not isinstance(self.api_key, tuple)
        return self.api_key

    def served_name(self, model: str) -> str:
        return self.name or model.rstrip("/").rsplit("/", 1)[-1]
