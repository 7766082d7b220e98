"""What tests of recorded stages share: settings of small runs, rows made of published ones, and checks of a run."""

import asyncio
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from engines.verl.rl_engine import child
from support import tested, workspaces
from support.called import virc

from virc.data.rows.record import Record
from virc.models.registry import EMBEDDED_FOLDER
from virc.rewards import rollouts
from virc.rewards.means import Means
from virc.rewards.registry import Total
from virc.rewards.sample import Prompt, sample

Settings = dict[str, object]
SFT: Settings = {"steps": 2, "save_steps": 2, "train_batch_size": 2, "micro_batch_size_per_device": 1, "log_every": 1,
                 "trackers": "[]"}  # fmt: skip
"""Of a supervised run of two steps."""


def teaching(steps: int, batch: int = 8, cutoff_len: int = 2048) -> Settings:
    """Settings with which `tiny` learns replies by heart."""
    size = {"steps": steps, "save_steps": steps, "train_batch_size": batch, "micro_batch_size_per_device": batch}
    return {**size, "warmup_ratio": 0, "cutoff_len": cutoff_len, "learning_rate": 2e-3}


def rl(steps: int = 1, batch: int = 1, **more: object) -> Settings:
    """Settings of a small run of RL."""
    size = {"steps": steps, "save_steps": steps, "train_batch_size": batch, "ppo_mini_batch_size": batch}
    return {**size, "micro_batch_size_per_device": 1, "rollouts": 1, "trackers": "[]", **more}


def converted(workspace: Path, system: str, file: Path, to: str, form: str) -> str:
    """The rows that a stage takes, made of a published file: their place in the workspace."""
    words = ("--system", system, "--to", workspace / to, "--name", "rows", "--format", form, "--workers", 1)
    done = virc("data", "convert", file, *words)
    assert done.code == 0, done.err
    return str(next((workspace / to).glob("rows.*")).relative_to(workspace))


def assert_learnt(run: Path, base: Path = EMBEDDED_FOLDER) -> None:
    """Of a supervised run of two steps: its losses are numbers, and its weights or its adapter have changed."""
    from safetensors.torch import load_file

    losses = workspaces.losses(run)
    assert list(losses) == [1, 2]
    assert all(map(math.isfinite, losses.values()))
    adapter = run / "checkpoints" / "checkpoint-2" / "adapter_model.safetensors"
    if adapter.exists():
        assert any(weight.any() for name, weight in load_file(adapter).items() if "lora_B" in name)  # begin at zero
    else:
        before = {name: weight.float() for name, weight in load_file(base / "model.safetensors").items()}
        assert not workspaces.same(before, workspaces.weights(run, 2))


def steps_of(run: Path) -> list[dict[str, Any]]:
    """What was measured at each step; some gradient was not zero."""
    steps = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert max(step["grad_norm"] for step in steps) > 0
    return steps


def said_in(trace: Mapping[str, Any]) -> tuple[str, ...]:
    """The replies of a rollout."""
    return tuple(each["text"] for each in (*trace["units"], *trace["pending"]))


def assert_rewarded(run: Path, by_hand: Callable[[str, tuple[str, ...]], float | None]) -> list[dict[str, Any]]:
    """Of a run of RL, whose rollouts are returned: those of known worth were rewarded so, and are a fourth at least.

    Args:
        by_hand: the worth of replies to a question; None: it is not known.
    """
    traces, known = tested.traces(run), 0
    for trace in traces:
        if (worth := by_hand(trace["question"], said_in(trace))) is not None:
            known += 1
            assert trace["reward"] == pytest.approx(worth), trace["units"]
    assert known >= len(traces) / 4  # it has learnt how to reply
    steps_of(run)
    return traces


def assert_counted(
    total: Total, records: Sequence[Record], worth: Sequence[Mapping[str, float]]
) -> list[Mapping[str, float | None]]:
    """Of a reward: replies to rows are worth what was found by hand; their terms are returned."""
    terms: list[Mapping[str, float | None]] = []
    for record, replies in zip(records, worth, strict=True):
        for reply, by_hand in replies.items():
            read = sample(reply, Prompt(record))
            found = asyncio.run(rollouts.score([read], rollouts.ends(read), total, Means()))
            assert found.total == pytest.approx(by_hand), reply
            terms.append(found.terms)
    return terms


def assert_weights_changed(start: Path, taught: int, run: Path, steps: int) -> None:
    """Of a run of RL: the language part is not that of the run it began with."""
    before, after = start / "checkpoints" / f"checkpoint-{taught}", run / "checkpoints" / f"global_step_{steps}"
    assert child("weights_child.py", before, after)["parts"]["language"]["change"] > 0
