"""Stages of a system that marks regions, in their real engines, on `tiny` and rows as far as they are published.

`tiny` is first taught conversations in which a box is marked. What ran is recorded.
"""

from pathlib import Path

import pytest
from recorded import recording
from support import published_crops, tested, tool_rows, workspaces

pytestmark = [pytest.mark.record, pytest.mark.timeout(1800)]

SAMPLES, TAUGHT = 8, 120
TEACHING = recording.teaching(TAUGHT, 3, 1024)
RL = recording.rl(n=SAMPLES, prompt_length=1024, response_length=512)


@pytest.fixture(scope="module")
def base(workspace: Path) -> Path:
    return published_crops.wide_base(workspace / "wide")


@pytest.fixture(scope="module")
def chains(workspace: Path) -> str:
    """Conversations for the supervised stage."""
    return str(tool_rows.vitar_sft(workspace / "data" / "chains", pictures=1).relative_to(workspace))


def test_the_supervised_stage_learns_conversations_with_marks(workspace: Path, base: Path, chains: str) -> None:
    run = workspaces.trained(
        workspace, "vitar", "instruct", "--with", "cpu", "--from", str(base), "--data", chains, **recording.SFT
    )
    recording.assert_learnt(run, base)
    tested.ran(run, "sft")


def test_rl_rewards_marks_and_right_answers(workspace: Path, base: Path, chains: str) -> None:
    start = workspaces.trained(workspace, "tiny", "instruct", "--from", str(base), "--data", chains, **TEACHING)
    file = tool_rows.vitar_rl(workspace / "published" / "rl", pictures=1)
    rows = recording.converted(workspace, "vitar", file, "data/problems", "prompts")
    words = ("--with", "cpu", "--from", start.name, "--data", rows)
    run = workspaces.trained(workspace, "vitar", "rl", *words, **RL)
    worth = dict(zip(map(tuple, tool_rows.VITAR[0]), tool_rows.VITAR_REWARDS, strict=True))
    traces = recording.assert_rewarded(run, lambda _, said: worth.get(said))
    assert any(each["images"] for trace in traces for unit in trace["units"] for each in unit["results"])
    tested.ran(run, "rl")
