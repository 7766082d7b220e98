"""Stages of systems whose tools stand behind servers, in their real engines, on `tiny` and rows as they are published.
What ran is recorded.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from recorded import recording
from support import published_crops, tested, tool_rows, workspaces

from virc_zoo.openthinkimg.tools._servers import CONTROLLER

pytestmark = [pytest.mark.record, pytest.mark.timeout(1800)]

SAMPLES, TAUGHT = 8, 180  # of one picture: a row has 1,600 tokens, most of them of the system message
TEACHING = recording.teaching(TAUGHT, 3)
RL = recording.rl(n=SAMPLES, prompt_length=2048, response_length=1536)


@pytest.fixture(scope="module")
def base(workspace: Path) -> Path:
    return published_crops.wide_base(workspace / "wide")


@pytest.fixture(autouse=True)
def _servers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with tool_rows.tool_servers(tool_rows.POINT) as server:
        monkeypatch.setenv(CONTROLLER, server.address)
        yield


@pytest.fixture
def chains(workspace: Path) -> str:
    """Rows that the supervised stage takes, made of the published ones."""
    if not (workspace / "data/chains").exists():
        file = tool_rows.openthinkimg_sft(workspace / "published" / "sft", pictures=1)
        recording.converted(workspace, "openthinkimg", file, "data/chains", "sft")
    return "data/chains/rows.json"


def test_the_supervised_stage_learns_conversations_with_tools(workspace: Path, base: Path, chains: str) -> None:
    words = ("--with", "cpu", "--from", str(base), "--data", chains)
    run = workspaces.trained(workspace, "openthinkimg", "instruct", *words, **recording.SFT)
    recording.assert_learnt(run, base)
    tested.ran(run, "sft")


def test_rl_rewards_right_answers_after_calls_to_a_server(workspace: Path, base: Path, chains: str) -> None:
    words = ("--from", str(base), "--data", chains)
    start = workspaces.trained(workspace, "tiny", "instruct", *words, **TEACHING)
    file = tool_rows.openthinkimg_rl(workspace / "published" / "rl", pictures=1)
    rows = recording.converted(workspace, "openthinkimg", file, "data/problems", "prompts")
    words = ("--with", "cpu", "--from", start.name, "--data", rows)
    run = workspaces.trained(workspace, "openthinkimg", "rl", *words, **RL)
    worth = {
        tuple(replies): reward
        for chains_of_one in tool_rows.OPENTHINKIMG
        for replies, reward in zip(chains_of_one, tool_rows.OPENTHINKIMG_REWARDS, strict=True)
    }
    traces = tested.traces(run)
    assert sum(recording.said_in(trace) in worth for trace in traces) >= len(traces) / 4  # it has learnt how to reply
    assert any(each["images"] for trace in traces for unit in trace["units"] for each in unit["results"])
    assert any("<point" in json.dumps(trace) for trace in traces)
    recording.steps_of(run)
    tested.ran(run, "rl")
