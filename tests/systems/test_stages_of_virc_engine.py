"""The stages of `virc` one after the other in their real engines, with the published reward and a scripted judge.

`tiny` stands for the published base, rows of ours for CRUX; all else is as `--with cpu` has it. What ran is recorded.
"""

import math
from itertools import pairwise
from pathlib import Path

import pytest
import tested
from servers import serve
from training import workspaces

from virc_recipes.metrics import metrics
from virc_recipes.models import EMBEDDED_FOLDER
from virc_recipes.runs import Run

pytestmark = [pytest.mark.engine, pytest.mark.timeout(1800)]

STEPS = 2
ROWS = {"instruct": "trajectories.json", "practice": "trajectories.json", "rl": "rl.parquet"}
FEW = {
    "sft": ("batch=4", "micro_batch=2", "cutoff=2048", "log_every=1"),
    "rl": ("batch=2", "mini_batch=2", "samples=4", "prompt_length=1024", "response_length=96", "save=2",
           "reward.total=virc"),
}  # fmt: skip
KINDS = {"instruct": "sft", "practice": "sft", "rl": "rl"}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A run of each stage, from that of the stage before; the judge finds everything right."""
    folder = tmp_path_factory.mktemp("workspace")
    words = ("--to", "data/polygons", "--count", "24", "--seed", "3", "--layouts", "sft,rl")
    drawn = workspaces.run(folder, "data", "synth", *words)
    assert drawn.returncode == 0, drawn.stderr
    found, base = {}, "tiny"
    with serve([r"It is right. \boxed{1}"]) as judge:
        for stage, rows in ROWS.items():
            settings = (f"steps={STEPS}", *FEW[KINDS[stage]])
            few = [word for setting in settings for word in ("--set", setting)]
            more = ("--judge-endpoint", judge.url) if stage == "rl" else ()
            given = ("--with", "cpu", "--from", base, "--data", f"data/polygons/{rows}", *few, *more)
            done = workspaces.run(folder, "train", "virc", "--stage", stage, *given)
            assert done.returncode == 0, done.stderr
            found[stage], base = Path(done.stdout.strip()), f"virc-{stage}"
    return found


@pytest.mark.parametrize("stage", ROWS)
def test_every_stage_runs_to_its_last_step(stage: str, runs: dict[str, Path]) -> None:
    steps = list(metrics(Run(runs[stage])))
    assert [each.step for each in steps] == [1, 2]
    assert workspaces.state(runs[stage])["progress"] == "finished"
    assert all(math.isfinite(each.main or math.nan) for each in steps)
    tested.record("virc", stage, tested.engine(KINDS[stage]), STEPS)


def test_supervised_stages_change_what_the_stage_before_left(runs: dict[str, Path]) -> None:
    from safetensors.torch import load_file

    base = {name: weight.float() for name, weight in load_file(EMBEDDED_FOLDER / "model.safetensors").items()}
    chain = [base, *(workspaces.weights(runs[stage], STEPS) for stage in ("instruct", "practice"))]
    for before, after in pairwise(chain):
        assert not workspaces.same(before, after)


def test_rollouts_get_the_published_reward(runs: dict[str, Path]) -> None:
    """-1 for a malformed reply, 0.8 for an answer, 0.9 for a look and 0.1 more for the right tool."""
    for step in metrics(Run(runs["rl"])):
        terms = {name: step.terms.get(name, 1.0) for name in ("answer", "reasoning", "focus")}
        assert set(terms.values()) == {1.0}  # the judge says so
        well, looks = step.terms["format"], step.tool_calls or 0.0
        expected = 0.8 * (well - looks) + looks * (0.9 + 0.1 * step.terms.get("tool_choice", 0)) - (1 - well)
        assert step.reward == pytest.approx(expected, abs=1e-5)
