"""`python -m virc.engines.vllm.cpu OPTIONS`: vLLM's server on a CPU, which imports vLLM once.

vLLM protects CUDA, which must not be initialized before a fork, by a process of its own that reads what the class of
the model can do. On a CPU it also restarts the engine's process, to set the threads of several of them, whatever
VLLM_WORKER_MULTIPROC_METHOD says. Each of these imports vLLM again, for 8 to 30 s.
"""

import gc
import json
import os
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

_METHOD = "VLLM_WORKER_MULTIPROC_METHOD"


def main() -> None:
    """Run vLLM's server; the garbage collector pauses until vLLM is imported and configured."""
    gc.disable()
    import torch
    from vllm.model_executor.models import ModelRegistry  # type: ignore[import-not-found, unused-ignore]
    from vllm.platforms.cpu import CpuPlatform  # type: ignore[import-not-found, unused-ignore]

    for name in _architectures(Path(sys.argv[sys.argv.index("--model") + 1])):
        if name in ModelRegistry.models:  # a class, in the place of where it is: it needs no process to be read
            ModelRegistry.register_model(name, ModelRegistry.models[name].load_model_cls())
    CpuPlatform.check_and_update_config = staticmethod(_configuring(CpuPlatform.check_and_update_config))
    # vLLM takes back what a seeded request draws between parts of its prompt, by an offset that a CPU's has not
    begun = {"get_offset": lambda _: 0, "set_offset": lambda drawn, _: drawn.manual_seed(drawn.initial_seed())}
    torch.Generator = type("Generator", (torch.Generator,), begun)  # type: ignore[misc, assignment]
    runpy.run_module("vllm.entrypoints.openai.api_server", run_name="__main__", alter_sys=True)


def _architectures(model: Path) -> list[str]:
    found: list[str] = json.loads((model / "config.json").read_bytes()).get("architectures") or []
    return found


def _configuring(configure: Callable[[Any], None]) -> Callable[[Any], None]:
    method = os.environ[_METHOD]

    def configured(config: Any) -> None:
        configure(config)
        os.environ[_METHOD] = method
        gc.freeze()
        gc.enable()

    return configured


if __name__ == "__main__":
    main()
