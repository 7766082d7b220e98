"""What we hook into verl, torch and vLLM stands in the pinned packages, and only where VERL_PLATFORM asks for it."""

from pathlib import Path
from typing import Any

import pytest
from rl_engine import child
from support.engine_python import interpreter

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

# What verl calls of a device module in the parts that run here; found by reading its source.
CALLED = {
    "Stream", "current_device", "current_stream", "device_count", "empty_cache", "get_device_name", "get_rng_state",
    "is_available", "max_memory_allocated", "max_memory_reserved", "mem_get_info", "memory_allocated",
    "memory_reserved", "set_device", "set_rng_state", "stream", "synchronize",
}  # fmt: skip


@pytest.fixture(scope="module")
def asked() -> dict[str, Any]:
    found: dict[str, Any] = child("hooks_child.py")
    return found


@pytest.fixture(scope="module")
def not_asked() -> dict[str, Any]:
    found: dict[str, Any] = child("hooks_child.py", VERL_PLATFORM="")
    return found


def test_nothing_happens_unasked(not_asked: dict[str, Any]) -> None:
    assert not_asked["platforms"] == ["amd", "huawei", "nvidia"]
    assert not_asked["device"] != "cpu"
    assert not_asked["patched"] == []
    assert "virc" not in not_asked["rollouts"] + not_asked["replicas"]


def test_the_platform_is_whole(asked: dict[str, Any]) -> None:
    assert asked["verl"] == "0.9.1"
    assert asked["device"] == "cpu"
    assert asked["platforms"] == ["amd", "cpu", "huawei", "nvidia"]
    assert asked["unknown to a platform"] == []
    assert asked["other parameters"] == []
    assert set(asked["device functions"]) >= CALLED


def test_what_is_patched_is_there(asked: dict[str, Any], not_asked: dict[str, Any]) -> None:
    assert asked["patched"] == ["init_process_group", "pin_memory", "version"]
    hooks = not_asked["parameters"]
    assert hooks["torch:distributed.init_process_group"][0] == "backend"
    assert hooks["vllm.model_executor.layers.utils:dispatch_cpu_unquantized_gemm"] == ["layer", "remove_weight"]
    assert hooks["verl.workers.engine.fsdp.transformer_impl:apply_monkey_patch"][0] == "model"
    assert hooks["verl.workers.engine.fsdp.transformer_impl:FSDPEngine.initialize"] == ["self"]
    saving = ["self", "local_path", "hdfs_path", "global_step", "max_ckpt_to_keep", "kwargs"]
    assert hooks["verl.workers.engine.fsdp.transformer_impl:FSDPEngine.save_checkpoint"] == saving
    assert hooks["verl.trainer.main_ppo:run_ppo"] == ["config", "task_runner_class"]
    assert hooks["verl.trainer.constants_ppo:get_ppo_ray_runtime_env"] == ["config"]
    assert hooks["verl.utils.config:validate_config"] == ["config", "use_reference_policy", "use_critic"]
    assert hooks["verl.experimental.agent_loop.agent_loop:AgentLoopBase.run"] == ["self", "sampling_params", "kwargs"]


def test_private_names_are_there(not_asked: dict[str, Any]) -> None:
    """Those of `virc.engines.verl.private`; that of the rollouts is looked at below."""
    hooks = not_asked["parameters"]
    reasons = hooks["verl.trainer.ppo.v1.replay_buffer:ReplayBuffer._terminal_eviction_reasons"]
    assert reasons == ["self", "global_steps", "partition_id"]
    assert not_asked["ray takes a folder"]
    assert hooks["ray:_private.state.state.actor_table"] == ["actor_id", "job_id", "actor_state_name"]


def test_what_is_no_number_is_null_in_the_log(not_asked: dict[str, Any]) -> None:
    """So `runs.metrics.diverged` takes a gradient that a line lacks for one that was no number."""
    assert not_asked["no numbers"] == {"nan": None, "infinite": None}


def test_vllm_is_not_loaded_for_other_rollouts(asked: dict[str, Any], not_asked: dict[str, Any]) -> None:
    assert not_asked["vllm"]
    assert not asked["vllm"]
    assert "naive" in asked["engines of weights"]
    assert asked["engines of weights"] == not_asked["engines of weights"]


def test_the_rollout_is_registered_and_whole(asked: dict[str, Any]) -> None:
    assert "virc" in asked["rollouts"]
    assert "virc" in asked["replicas"]
    assert asked["wanted of a rollout"] == ["release", "resume", "update_weights"]
    assert asked["wanted of a replica"] == ["launch_servers"]
    assert {"token_ids", "log_probs", "stop_reason", "extra_fields"} <= set(asked["a reply"])


def test_vllm_still_calls_what_is_patched() -> None:
    """Its linear layers look the function up when they are made ready, with `remove_weight` by name."""
    packages = next((interpreter("rl").parent.parent / "lib").glob("python3*/site-packages"))
    source = (Path(packages) / "vllm" / "model_executor" / "layers" / "linear.py").read_text()
    assert "from vllm.model_executor.layers.utils import dispatch_cpu_unquantized_gemm" in source
    assert "dispatch_cpu_unquantized_gemm(layer, remove_weight=True)" in source
