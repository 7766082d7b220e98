"""Both stages of ViGoRL in their real engines, on `tiny` and rows as they are published. What ran is recorded.

RL goes on from `tiny` after it learnt by heart what four rollouts of each problem say, so that groups differ.
"""

import json
import math
from pathlib import Path

import pytest
from support import published_crops, tested, workspaces
from support.called import virc

pytestmark = [pytest.mark.record, pytest.mark.timeout(3600)]

SAMPLES, TAUGHT = 8, 240
TEACHING = {"steps": TAUGHT, "save_steps": TAUGHT, "train_batch_size": 8, "micro_batch_size_per_device": 8,
            "warmup_ratio": 0, "cutoff_len": 2048, "learning_rate": 2e-3}  # fmt: skip
SFT = {"steps": 2, "save_steps": 2, "train_batch_size": 2, "micro_batch_size_per_device": 1, "log_every": 1,
       "trackers": "[]"}  # fmt: skip
RL = {"steps": 1, "save_steps": 1, "train_batch_size": 3, "ppo_mini_batch_size": 3, "micro_batch_size_per_device": 1,
      "n": SAMPLES, "rollouts": 1, "prompt_length": 2048, "response_length": 2048, "trackers": "[]"}  # fmt: skip


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("workspace")


@pytest.fixture(scope="module")
def base(workspace: Path) -> Path:
    return published_crops.wide_base(workspace / "wide")


@pytest.fixture(scope="module")
def chains(workspace: Path) -> Path:
    """Rows that the supervised stage takes, made of the published ones."""
    to = workspace / "data" / "chains"
    file = published_crops.vigorl_sft(workspace / "published" / "sft")
    done = virc("data", "convert", file, "--system", "vigorl", "--to", to, "--name", "rows", "--format", "sft")
    assert done.code == 0, done.err
    return to / "rows.json"


def test_the_supervised_stage_learns_chains(workspace: Path, base: Path, chains: Path) -> None:
    from safetensors.torch import load_file

    words = ("--with", "cpu", "--from", str(base), "--data", str(chains.relative_to(workspace)))
    run = workspaces.trained(workspace, "vigorl", "instruct", *words, **SFT)
    losses = workspaces.losses(run)
    assert list(losses) == [1, 2]
    assert all(map(math.isfinite, losses.values()))
    before = {name: weight.float() for name, weight in load_file(base / "model.safetensors").items()}
    assert not workspaces.same(before, workspaces.weights(run, 2))
    tested.ran(run, "sft")


def test_rl_rewards_points_apart_and_right_answers(workspace: Path, base: Path) -> None:
    taught = published_crops.vigorl_sft(
        workspace / "data" / "taught", side=112
    )  # large squares would take half an hour
    words = ("--from", str(base), "--data", str(taught.relative_to(workspace)))
    start = workspaces.trained(workspace, "tiny", "instruct", *words, **TEACHING)
    to = workspace / "data" / "problems"
    file = published_crops.vigorl_rl(workspace / "published" / "rl")
    done = virc("data", "convert", file, "--system", "vigorl", "--to", to, "--name", "rows", "--format", "prompts")
    assert done.code == 0, done.err
    words = ("--with", "cpu", "--from", start.name, "--data", "data/problems/rows.parquet")
    run = workspaces.trained(workspace, "vigorl", "search", *words, **RL)
    worth = {
        tuple(replies): reward
        for chains_of_one in published_crops.VIGORL
        for replies, reward in zip(chains_of_one, published_crops.VIGORL_REWARDS, strict=True)
    }
    traces, seen = tested.traces(run), 0
    assert len(traces) >= 2 * SAMPLES  # those of some prompts are left in the run's folder
    for trace in traces:
        said = tuple(each["text"] for each in (*trace["units"], *trace["pending"]))
        if said in worth:
            seen += 1
            assert trace["reward"] == pytest.approx(worth[said]), said
    assert seen >= len(traces) / 4  # it has learnt how to reply
    assert any(each["images"] for trace in traces for unit in trace["units"] for each in unit["results"])
    told = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert max(each["grad_norm"] for each in told) > 0
    tested.ran(run, "rl", middles={"orderly": 0.5})
