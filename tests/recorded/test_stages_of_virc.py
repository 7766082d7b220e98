"""The stages of `virc` one after the other in their real engines, with the published reward and a scripted judge.

`tiny` stands for the published base, rows of ours for CRUX; all else is as `--with cpu` has it. What ran is recorded.
"""

import math
from itertools import pairwise
from pathlib import Path

import pytest
from support import tested, workspaces
from support.servers import serve

from virc.models.registry import EMBEDDED_FOLDER
from virc.runs.metrics import metrics
from virc.runs.run import Run

pytestmark = [pytest.mark.record, pytest.mark.timeout(1800)]

STEPS = 2
SFT = {"train_batch_size": 4, "micro_batch_size_per_device": 2, "cutoff_len": 2048, "log_every": 1}
RL = {"train_batch_size": 2, "ppo_mini_batch_size": 2, "n": 4, "prompt_length": 1024, "response_length": 96,
      "reward.total": "virc"}  # fmt: skip


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("workspace")
    workspaces.synth(folder, 24, "sft,rl")
    return folder


def trained(workspace: Path, stage: str, start: str, rows: str, *words: str, **settings: object) -> Path:
    """The run of a stage from a model or an earlier run."""
    given = ("--with", "cpu", "--from", start, "--data", f"data/polygons/{rows}", *words)
    return workspaces.trained(workspace, "virc", stage, *given, steps=STEPS, save_steps=STEPS, **settings)


@pytest.fixture(scope="module")
def instruct(workspace: Path) -> Path:
    return trained(workspace, "instruct", "tiny", "trajectories.json", **SFT)


@pytest.fixture(scope="module")
def practice(workspace: Path, instruct: Path) -> Path:
    return trained(workspace, "practice", instruct.name, "trajectories.json", **SFT)


@pytest.fixture(scope="module")
def rl(workspace: Path, practice: Path) -> Path:
    """With a judge that finds everything right."""
    with serve([r"It is right. \boxed{1}"]) as judge:
        return trained(workspace, "rl", practice.name, "rl.parquet", "--judge-endpoint", judge.url, **RL)


@pytest.mark.parametrize(("stage", "kind"), [("instruct", "sft"), ("practice", "sft"), ("rl", "rl")])
def test_a_stage_runs_to_its_last_step(stage: str, kind: str, request: pytest.FixtureRequest) -> None:
    run = request.getfixturevalue(stage)
    steps = list(metrics(Run(run)))
    assert [each.step for each in steps] == list(range(1, STEPS + 1))
    assert workspaces.state(run)["progress"] == "finished"
    assert all(math.isfinite(math.nan if each.main is None else each.main) for each in steps)
    tested.record("virc", stage, tested.engine(kind), STEPS)


def test_supervised_stages_change_what_the_stage_before_left(instruct: Path, practice: Path) -> None:
    from safetensors.torch import load_file

    base = {name: weight.float() for name, weight in load_file(EMBEDDED_FOLDER / "model.safetensors").items()}
    chain = [base, workspaces.weights(instruct, STEPS), workspaces.weights(practice, STEPS)]
    assert not any(workspaces.same(before, after) for before, after in pairwise(chain))


def test_rollouts_get_the_published_reward(rl: Path) -> None:
    """-1 for a malformed reply, 0.8 for an answer, 0.9 for a look and 0.1 more for the right tool."""
    for step in metrics(Run(rl)):
        terms = {name: step.terms.get(name, 1.0) for name in ("answer", "reasoning", "focus")}
        assert set(terms.values()) == {1.0}  # the judge says so
        well, looks = step.terms["format"], step.tool_calls or 0.0
        expected = 0.8 * (well - looks) + looks * (0.9 + 0.1 * step.terms.get("tool_choice", 0)) - (1 - well)
        assert step.reward == pytest.approx(expected, abs=1e-5)
