"""Both stages of ViGoRL in their real engines, on `tiny` and rows as they are published. What ran is recorded.

RL goes on from `tiny` after it learnt by heart what four rollouts of each problem say, so that groups differ.
"""

from pathlib import Path

import pytest
from recorded import recording
from support import published_crops, tested, workspaces

pytestmark = [pytest.mark.record, pytest.mark.timeout(3600)]

SAMPLES, TAUGHT = 8, 240
TEACHING = recording.teaching(TAUGHT)
RL = recording.rl(batch=3, n=SAMPLES, prompt_length=2048, response_length=2048)


@pytest.fixture(scope="module")
def base(workspace: Path) -> Path:
    return published_crops.wide_base(workspace / "wide")


def test_the_supervised_stage_learns_chains(workspace: Path, base: Path) -> None:
    file = published_crops.vigorl_sft(workspace / "published" / "sft")
    rows = recording.converted(workspace, "vigorl", file, "data/chains", "sft")
    words = ("--with", "cpu", "--from", str(base), "--data", rows)
    run = workspaces.trained(workspace, "vigorl", "instruct", *words, **recording.SFT)
    recording.assert_learnt(run, base)
    tested.ran(run, "sft")


def test_rl_rewards_points_apart_and_right_answers(workspace: Path, base: Path) -> None:
    taught = published_crops.vigorl_sft(
        workspace / "data" / "taught", side=112
    )  # large squares would take half an hour
    words = ("--from", str(base), "--data", str(taught.relative_to(workspace)))
    start = workspaces.trained(workspace, "tiny", "instruct", *words, **TEACHING)
    file = published_crops.vigorl_rl(workspace / "published" / "rl")
    rows = recording.converted(workspace, "vigorl", file, "data/problems", "prompts")
    words = ("--with", "cpu", "--from", start.name, "--data", rows)
    run = workspaces.trained(workspace, "vigorl", "search", *words, **RL)
    worth = {
        tuple(replies): reward
        for chains_of_one in published_crops.VIGORL
        for replies, reward in zip(chains_of_one, published_crops.VIGORL_REWARDS, strict=True)
    }
    traces = recording.assert_rewarded(run, lambda _, said: worth.get(said))
    assert len(traces) >= 2 * SAMPLES  # those of some prompts are left in the run's folder
    assert any(each["images"] for trace in traces for unit in trace["units"] for each in unit["results"])
    tested.ran(run, "rl", middles={"orderly": 0.5})
