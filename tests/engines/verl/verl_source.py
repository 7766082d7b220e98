"""Where the installed verl reads a key in a stage: FSDP, the V1 trainer in step with its rollouts, vLLM or our own."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from functools import cache

from support.engine_python import interpreter

# What a stage never runs: other strategies, other samplers, other trainers, other commands.
_OTHER = (
    *(f"verl/workers/engine/{part}" for part in (
        "megatron", "veomni", "torchtitan", "automodel", "mindspeed", "fsdp/fsdp_turbo"
    )),
    *(f"verl/workers/rollout/{part}" for part in ("sglang", "trtllm")),
    *(f"verl/trainer/{part}" for part in (
        "main_ppo_v0", "main_eval", "main_generation", "sft_trainer", "ppo/v1/trainer_separate", "ppo/ray_trainer",
        "ppo/v1/trainer_colocate",
    )),
    *(f"verl/utils/{part}" for part in ("megatron", "veomni", "sglang", "trtllm", "modelopt", "torchtitan")),
    *(f"verl/experimental/{part}" for part in ("fully", "one_step", "separation", "vla")),
    *(f"verl/checkpoint_engine/{part}" for part in ("nccl", "hccl", "nixl", "moon", "kimi", "delta")),
    "verl/models/mcore", "verl/model_merger", "verl/workers/reward_manager", "verl/utils/reward_score", "verl/tools",
)  # fmt: skip
_PACKAGES = ("verl", "transfer_queue")


@cache
def readers() -> dict[str, frozenset[str]]:
    """Last part of a dotted name -> the files that read an attribute or mention a text of that name in a stage."""
    found: dict[str, set[str]] = defaultdict(set)
    packages = next((interpreter("rl").parent.parent / "lib").glob("python3*/site-packages"))
    for package in _PACKAGES:
        for file in sorted((packages / package).rglob("*.py")):
            relative = file.relative_to(packages).as_posix()
            if not relative.startswith(_OTHER):
                for name in _read(ast.parse(file.read_bytes())):
                    found[name].add(relative)
    return {name: frozenset(files) for name, files in found.items()}


def _read(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
            yield node.attr
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value.rsplit(".", 1)[-1]
        elif isinstance(node, ast.arg):
            yield node.arg
