"""`python -m virc.engines.vllm.cpu OPTIONS`: vLLM's server on a CPU, which imports vLLM once.

vLLM protects CUDA, which must not be initialized before a fork, by a process of its own that reads what the class of
the model can do. On a CPU it also restarts the engine's process, to set the threads of several of them, whatever
VLLM_WORKER_MULTIPROC_METHOD says. Each of these imports vLLM again, for 8 to 30 s.
"""

import gc
import os
import runpy
from collections.abc import Callable
from typing import Any

_METHOD = "VLLM_WORKER_MULTIPROC_METHOD"


def main() -> None:
    """Run vLLM's server; the garbage collector pauses until vLLM is imported and configured."""
    gc.disable()
    from vllm.model_executor.models import registry  # type: ignore[import-not-found, unused-ignore]
    from vllm.platforms.cpu import CpuPlatform  # type: ignore[import-not-found, unused-ignore]

    registry._run_in_subprocess = lambda inspect: inspect()
    CpuPlatform.check_and_update_config = staticmethod(_configuring(CpuPlatform.check_and_update_config))
    runpy.run_module("vllm.entrypoints.openai.api_server", run_name="__main__", alter_sys=True)


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
