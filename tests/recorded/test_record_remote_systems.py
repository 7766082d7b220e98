"""Stages of systems whose tools stand behind servers, in their real engines, on `tiny` and rows as they are published.
What ran is recorded.
"""

import json
import math
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import published_crops, tested, tool_rows, workspaces
from support.called import virc

from virc_zoo.openthinkimg.tools._servers import CONTROLLER

pytestmark = [pytest.mark.record, pytest.mark.timeout(1800)]

SAMPLES, TAUGHT = 8, 180  # of one picture: a row has 1,600 tokens, most of them of the system message
TEACHING = {"steps": TAUGHT, "save_steps": TAUGHT, "train_batch_size": 3, "micro_batch_size_per_device": 3,
            "warmup_ratio": 0, "cutoff_len": 2048, "learning_rate": 2e-3}  # fmt: skip
SFT = {"steps": 2, "save_steps": 2, "train_batch_size": 2, "micro_batch_size_per_device": 1, "trackers": "[]"}
RL = {"steps": 1, "save_steps": 1, "train_batch_size": 1, "ppo_mini_batch_size": 1, "micro_batch_size_per_device": 1,
      "n": SAMPLES, "rollouts": 1, "prompt_length": 2048, "response_length": 1536, "trackers": "[]"}  # fmt: skip


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("workspace")


@pytest.fixture(scope="module")
def base(workspace: Path) -> Path:
    return published_crops.wide_base(workspace / "wide")


@pytest.fixture(autouse=True)
def _servers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with tool_rows.tool_servers(tool_rows.POINT) as server:
        monkeypatch.setenv(CONTROLLER, server.address)
        yield


@pytest.fixture
def chains(workspace: Path) -> Path:
    """Rows that the supervised stage takes, made of the published ones."""
    to = workspace / "data" / "chains"
    if not to.exists():
        file = tool_rows.openthinkimg_sft(workspace / "published" / "sft", pictures=1)
        done = virc(
            "data", "convert", file, "--system", "openthinkimg", "--to", to, "--name", "rows", "--format", "sft"
        )
        assert done.code == 0, done.err
    return to / "rows.json"


def test_the_supervised_stage_learns_conversations_with_tools(workspace: Path, base: Path, chains: Path) -> None:
    words = ("--with", "cpu", "--from", str(base), "--data", str(chains.relative_to(workspace)))
    run = workspaces.trained(workspace, "openthinkimg", "instruct", *words, **SFT)
    losses = workspaces.losses(run)
    assert list(losses) == [1, 2]
    assert all(map(math.isfinite, losses.values()))
    tested.ran(run, "sft")


def test_rl_rewards_right_answers_after_calls_to_a_server(workspace: Path, base: Path, chains: Path) -> None:
    words = ("--from", str(base), "--data", str(chains.relative_to(workspace)))
    start = workspaces.trained(workspace, "tiny", "instruct", *words, **TEACHING)
    to = workspace / "data" / "problems"
    file = tool_rows.openthinkimg_rl(workspace / "published" / "rl", pictures=1)
    done = virc(
        "data", "convert", file, "--system", "openthinkimg", "--to", to, "--name", "rows", "--format", "prompts"
    )
    assert done.code == 0, done.err
    words = ("--with", "cpu", "--from", start.name, "--data", "data/problems/rows.parquet")
    run = workspaces.trained(workspace, "openthinkimg", "rl", *words, **RL)
    worth = {
        tuple(replies): reward
        for chains_of_one in tool_rows.OPENTHINKIMG
        for replies, reward in zip(chains_of_one, tool_rows.OPENTHINKIMG_REWARDS, strict=True)
    }
    traces, seen = tested.traces(run), 0
    for trace in traces:
        said = tuple(each["text"] for each in (*trace["units"], *trace["pending"]))
        seen += said in worth
    assert seen >= len(traces) / 4  # it has learnt how to reply
    assert any(each["images"] for trace in traces for unit in trace["units"] for each in unit["results"])
    assert any("<point" in json.dumps(trace) for trace in traces)
    told = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert max(each["grad_norm"] for each in told) > 0
    tested.ran(run, "rl")
