"""The curve of a demo says what its evaluations say, as figures, as a table and as a picture."""

import json
from pathlib import Path

import finished
import pytest
from support.called import virc

from virc.evaluation.statistics import wilson
from virc_extras.demo import curve as demo_curve
from virc_extras.demo.curve import Curve, Gain, Scores
from virc_extras.demo.plan import QUICK


@pytest.fixture
def curve(workspace: Path) -> Curve:
    finished.finish(workspace / "demo")
    return demo_curve.read_curve(workspace / "demo", finished.QUICK)


def gain(curve: Curve, stage: str, part: str, replies: str = "greedy") -> Gain:
    (found,) = (each for each in curve.gains if (each.stage, each.part, each.replies) == (stage, part, replies))
    return found


def test_every_stage_has_its_share_of_right_answers_with_wilsons_interval(curve: Curve) -> None:
    greedy = [stage.greedy for stage in curve.stages]
    assert [stage.name for stage in curve.stages] == ["base", "instruct", "practice", "rl", "direct"]
    assert [right(scores) for scores in greedy] == [(2, 2, 0), (6, 6, 0), (9, 8, 1), (14, 8, 6), (1, 1, 0)]
    assert {(scores.all.of, scores.easy.of, scores.hard.of) for scores in greedy} == {(20, 10, 10)}
    assert all(scores.hard.interval == wilson(scores.hard.right, 10) for scores in greedy)


def right(scores: Scores) -> tuple[int, int, int]:
    return scores.all.right, scores.easy.right, scores.hard.right


@pytest.mark.parametrize(
    ("stage", "part", "of", "points", "p"),
    [("instruct", "all", 20, 0.20, 14 / 64), ("practice", "all", 20, 0.15, 0.25), ("rl", "easy", 10, 0.0, 1.0)],
)
def test_gains_are_on_the_same_problems(curve: Curve, stage: str, part: str, of: int, points: float, p: float) -> None:
    found = gain(curve, stage, part)
    assert (found.of, found.p) == (of, pytest.approx(p))
    assert found.difference == pytest.approx(points)
    assert found.interval[0] <= found.difference <= found.interval[1]


@pytest.mark.integration
def test_the_command_prints_the_curve_and_leaves_it_with_a_picture(workspace: Path) -> None:
    finished.finish(workspace / "demo")
    done = virc("demo", "--quick")
    assert done.code == 0, done.err
    printed = done.out.splitlines()
    head, *said = done.err.splitlines()
    assert head.startswith("about 10 min on two cores, into demo; Ctrl-C keeps ")
    assert said[4] == "    2 min  evaluation: every stage on 20 others"
    assert max(map(len, printed)) <= 80
    assert printed[:2] == [
        "--quick shows that every step runs. Its figures say nothing of the training:",
        "it starts from a trained model, tiny, which a few steps make worse.",
    ]
    assert f"answers of the rl evaluation: {Path('demo/evals/pages/report.html')}\n" in done.err
    assert "rl        70.0%   48.1 to 85.5   80.0%  60.0%  15.0%           5.0%" in printed
    assert f"a problem of the rl evaluation: {Path('demo/evals/pages/traces/rl/12/index.html')}\n" in done.err
    written = json.loads((workspace / "demo" / "curve.json").read_bytes())
    assert (written["schema"], written["base"], len(written["stages"])) == ("virc.demo/1", QUICK.start, 5)
    again = virc("demo", "--quick", "--json")
    assert again.json == {**written, "folder": "demo", "plot": "demo/curve.png", "error": None}
    assert set(again.json) - {"schema", "error"} == set(virc("demo", "--nosuch", "--json").json) - {"schema", "error"}


def test_rows_that_cannot_be_read_are_an_error(workspace: Path) -> None:
    finished.finish(workspace / "demo")
    (workspace / "demo" / "data" / "heldout" / "problems.jsonl").write_text("{}\n")
    done = virc("demo", "--quick")
    assert (done.code, done.out) == (5, "")
    assert "data/heldout/problems.jsonl cannot be read: " in done.err
    assert done.err.endswith("\nhint: remove demo/data/heldout\n")
