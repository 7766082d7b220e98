"""Stages of a system that marks regions, in their real engines, on `tiny` and rows as far as they are published.

`tiny` is first taught conversations in which a box is marked. What ran is recorded.
"""

import json
import math
from pathlib import Path

import pytest
from support import published_crops, tested, tool_rows, workspaces
from support.called import virc

pytestmark = [pytest.mark.record, pytest.mark.timeout(1800)]

SAMPLES, TAUGHT = 8, 120
TEACHING = {"steps": TAUGHT, "save_steps": TAUGHT, "train_batch_size": 3, "micro_batch_size_per_device": 3,
            "warmup_ratio": 0, "cutoff_len": 1024, "learning_rate": 2e-3}  # fmt: skip
SFT = {"steps": 2, "save_steps": 2, "train_batch_size": 2, "micro_batch_size_per_device": 1, "log_every": 1,
       "trackers": "[]"}  # fmt: skip
RL = {"steps": 1, "save_steps": 1, "train_batch_size": 1, "ppo_mini_batch_size": 1, "micro_batch_size_per_device": 1,
      "n": SAMPLES, "rollouts": 1, "prompt_length": 1024, "response_length": 512, "trackers": "[]"}  # fmt: skip


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("workspace")


@pytest.fixture(scope="module")
def base(workspace: Path) -> Path:
    return published_crops.wide_base(workspace / "wide")


@pytest.fixture(scope="module")
def chains(workspace: Path) -> str:
    """Conversations for the supervised stage."""
    return str(tool_rows.vitar_sft(workspace / "data" / "chains", pictures=1).relative_to(workspace))


def test_the_supervised_stage_learns_conversations_with_marks(workspace: Path, base: Path, chains: str) -> None:
    run = workspaces.trained(
        workspace, "vitar", "instruct", "--with", "cpu", "--from", str(base), "--data", chains, **SFT
    )
    losses = workspaces.losses(run)
    assert list(losses) == [1, 2]
    assert all(map(math.isfinite, losses.values()))
    tested.ran(run, "sft")


def test_rl_rewards_marks_and_right_answers(workspace: Path, base: Path, chains: str) -> None:
    start = workspaces.trained(workspace, "tiny", "instruct", "--from", str(base), "--data", chains, **TEACHING)
    to, file = workspace / "data" / "problems", tool_rows.vitar_rl(workspace / "published" / "rl", pictures=1)
    done = virc("data", "convert", file, "--system", "vitar", "--to", to, "--name", "rows", "--format", "prompts")
    assert done.code == 0, done.err
    words = ("--with", "cpu", "--from", start.name, "--data", "data/problems/rows.parquet")
    run = workspaces.trained(workspace, "vitar", "rl", *words, **RL)
    worth = {
        tuple(replies): reward for replies, reward in zip(tool_rows.VITAR[0], tool_rows.VITAR_REWARDS, strict=True)
    }
    traces, seen = tested.traces(run), 0
    for trace in traces:
        said = tuple(each["text"] for each in (*trace["units"], *trace["pending"]))
        seen += said in worth
        assert said not in worth or trace["reward"] == pytest.approx(worth[said])
    assert seen >= len(traces) / 4  # it has learnt how to reply
    assert any(each["images"] for trace in traces for unit in trace["units"] for each in unit["results"])
    told = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert max(each["grad_norm"] for each in told) > 0
    tested.ran(run, "rl")
