"""Runs in the engine's interpreter: what the platform plug-in touches there, and how it looks."""

import importlib
import importlib.metadata
import inspect
import json
import os
import sys
import tempfile
from pathlib import Path

import ray
import torch
import verl
import verl.workers.engine_workers
from verl.checkpoint_engine import CheckpointEngineRegistry
from verl.plugin import platform
from verl.utils.tracking import FileLogger
from verl.workers.rollout.base import _ROLLOUT_REGISTRY, BaseRollout
from verl.workers.rollout.replica import RolloutReplica, RolloutReplicaRegistry, TokenOutput

from virc.engines.verl.private import RAY_FOLDER


def parameters(what: object) -> list[str]:
    return list(inspect.signature(what).parameters)  # type: ignore[arg-type]


def found(module: str, name: str) -> object:
    value: object = importlib.import_module(module)
    for part in name.split("."):
        value = getattr(value, part)
    return value


def logged(numbers: dict[str, float]) -> object:
    """What verl's logger makes of numbers."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["VERL_FILE_LOGGER_PATH"] = str(Path(folder) / "log")
        logger = FileLogger("", "")
        logger.log(numbers, 1)
        logger.finish()
        return json.loads((Path(folder) / "log").read_bytes())["data"]


LOADED = set(sys.modules)
PATCHED = {
    "init_process_group": torch.distributed.init_process_group,
    "pin_memory": torch.Tensor.pin_memory,
    "version": importlib.metadata.version,
}
HOOKS = (
    "verl.workers.rollout.base:BaseRollout.update_weights",
    "verl.workers.rollout.replica:RolloutReplica.launch_servers",
    "verl.workers.rollout.replica:RolloutReplicaRegistry.register",
    "verl.workers.engine.fsdp.transformer_impl:apply_monkey_patch",
    "verl.workers.engine.fsdp.transformer_impl:FSDPEngine.initialize",
    "verl.workers.engine.fsdp.transformer_impl:FSDPEngine.save_checkpoint",
    "verl.trainer.ppo.v1.replay_buffer:ReplayBuffer._terminal_eviction_reasons",
    "verl.trainer.main_ppo:run_ppo",
    "verl.trainer.constants_ppo:get_ppo_ray_runtime_env",
    "verl.utils.config:validate_config",
    "verl.experimental.agent_loop.agent_loop:AgentLoopBase.run",
    "ray:_private.state.state.actor_table",
    "torch:distributed.init_process_group",
    "vllm.model_executor.layers.utils:dispatch_cpu_unquantized_gemm",
)

cpu = vars(platform.PlatformRegistry.get("cpu") or object)
base = vars(platform.PlatformBase)
print(
    json.dumps(
        {
            "verl": verl.__version__,
            "platforms": sorted(platform.PlatformRegistry.registered_names()),
            "device": platform.get_platform().device_name,
            "device functions": sorted(vars(platform.get_platform().device_module)),
            "wanted of a platform": sorted(platform.PlatformBase.__abstractmethods__),
            "unknown to a platform": sorted(name for name in cpu if not name.startswith("_") and name not in base),
            "other parameters": sorted(
                name
                for name, own in cpu.items()
                if inspect.isfunction(own) and parameters(own) != parameters(base[name])
            ),
            "rollouts": sorted(name for name, _ in _ROLLOUT_REGISTRY),
            "replicas": sorted(RolloutReplicaRegistry._registry),
            "wanted of a rollout": sorted(BaseRollout.__abstractmethods__),
            "wanted of a replica": sorted(RolloutReplica.__abstractmethods__),
            "a reply": sorted(TokenOutput.model_fields),
            "patched": sorted(
                name for name, what in PATCHED.items() if str(getattr(what, "__module__", None)).startswith("virc")
            ),
            "vllm": "vllm" in LOADED,
            "engines of weights": sorted(CheckpointEngineRegistry._registry),
            "ray takes a folder": f'kwargs.pop("{RAY_FOLDER}"' in inspect.getsource(inspect.unwrap(ray.init)),
            "no numbers": logged({"nan": float("nan"), "infinite": float("inf")}),
            "parameters": {name: parameters(found(*name.split(":"))) for name in HOOKS},
        }
    )
)
