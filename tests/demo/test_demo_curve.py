"""The curve of a demo says what its evaluations say, as figures, as a table and as a picture."""

import io
import json
from pathlib import Path

import finished
import pytest
from called import virc
from PIL import Image

from virc_recipes import demo_curve
from virc_recipes.demo import QUICK
from virc_recipes.demo_curve import Curve, Gain
from virc_recipes.evaluation.statistics import wilson


@pytest.fixture
def curve(workspace: Path) -> Curve:
    finished.finish(workspace / "demo")
    return demo_curve.read(workspace / "demo", finished.QUICK)


def gain(curve: Curve, stage: str, part: str) -> Gain:
    (found,) = (each for each in curve.gains if (each.stage, each.part) == (stage, part))
    return found


def test_every_stage_has_its_share_of_right_answers_with_wilsons_interval(curve: Curve) -> None:
    shares = {stage.name: (stage.right.right, stage.easy.right, stage.hard.right) for stage in curve.stages}
    assert shares == {
        "base": (2, 2, 0), "instruct": (6, 6, 0), "practice": (9, 8, 1), "rl": (14, 8, 6), "direct": (1, 1, 0),
    }  # fmt: skip
    assert {(stage.right.of, stage.easy.of, stage.hard.of) for stage in curve.stages} == {(20, 10, 10)}
    assert all(stage.hard.interval == wilson(stage.hard.right, 10) for stage in curve.stages)


def test_what_was_not_asked_is_not_said(curve: Curve) -> None:
    twins = {stage.name: stage.twin and stage.twin.right for stage in curve.stages}
    assert twins == {"base": 3, "instruct": 3, "practice": 3, "rl": 3, "direct": None}
    assert [stage.blank and stage.blank.right for stage in curve.stages] == [1, 1, 1, 1, None]


def test_how_the_answers_came_about(curve: Curve) -> None:
    assert {(stage.calls, stage.format_errors) for stage in curve.stages} == {(3.0, 0.25)}
    assert {(stage.looked.count, stage.looked.of) for stage in curve.stages} == {(10, 20)}
    assert {(stage.strange.right, stage.strange.of) for stage in curve.stages} == {(10, 20)}
    assert {(stage.refused.count, stage.refused.of) for stage in curve.stages} == {(0, 20)}
    assert (curve.commonest.count, curve.commonest.of) == (3, 20)


@pytest.mark.parametrize(
    ("stage", "part", "of", "points", "p"),
    [
        ("instruct", "all", 20, 0.20, 14 / 64),  # five won, one lost: 2 (1 + 6) / 2^6
        ("practice", "all", 20, 0.15, 0.25),  # three won, none lost
        ("rl", "all", 20, 0.25, 2 / 32),
        ("rl", "easy", 10, 0.0, 1.0),
        ("rl", "hard", 10, 0.5, 2 / 32),
    ],
)
def test_gains_are_on_the_same_problems(
    curve: Curve, stage: str, part: str, of: int, points: float, p: float
) -> None:
    found = gain(curve, stage, part)
    assert (found.of, found.p) == (of, pytest.approx(p))
    assert found.difference == pytest.approx(points)
    assert found.interval[0] <= found.difference <= found.interval[1]


def test_the_gains_are_those_that_the_evaluation_names_itself(curve: Curve, workspace: Path) -> None:
    summary = json.loads((workspace / "demo" / "evals" / "shown" / "summary.json").read_bytes())
    pairs = {(pair["one"], pair["other"]): pair for pair in summary["pairs"]}
    for one, other, stage in ((QUICK.start, "instruct@40", "instruct"), ("practice@40", "rl", "rl")):
        pair, found = pairs[one, other], gain(curve, stage, "all")
        low, high = pair["interval"]
        assert (found.difference, found.p) == (pytest.approx(-pair["difference"]), pair["p"])
        assert found.interval == pytest.approx((-high, -low))


def test_the_page_is_of_a_hard_problem_that_the_last_stage_solves(curve: Curve) -> None:
    assert curve.page == "evals/pages/traces/rl/12/index.html"


def test_every_step_has_its_command_and_its_time(curve: Curve) -> None:
    assert [step.seconds for step in curve.steps] == [2.5] * 16
    assert curve.steps[1].command.startswith("virc train tiny --stage instruct --from ")


def test_the_command_prints_the_curve_and_leaves_it_with_a_picture(workspace: Path) -> None:
    finished.finish(workspace / "demo")
    done = virc("demo", "--quick")
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0] == "20 problems held out; the commonest answer alone: 15.0%"
    assert "rl        70.0%  48.1 to 85.5   80.0%  60.0%  15.0%  5.0%" in lines
    assert "direct    5.0%   0.9 to 23.6    10.0%  0.0%   -      -" in lines
    assert "rl less practice        hard  +50.0   +8.2 to +74.6   0.062" in lines
    assert f"a problem that rl was asked: {Path('demo/evals/pages/traces/rl/12/index.html')}\n" in done.err
    written = json.loads((workspace / "demo" / "curve.json").read_bytes())
    assert (written["schema"], written["base"], len(written["stages"])) == ("virc.demo/1", QUICK.start, 5)
    again = virc("demo", "--quick", "--json")
    assert again.json == {**written, "folder": "demo", "plot": "demo/curve.png", "error": None}
    assert set(again.json) - {"schema", "error"} == set(virc("demo", "--nosuch", "--json").json) - {
        "schema",
        "error",
    }


def test_the_picture_has_a_line_for_easy_and_one_for_hard(curve: Curve, workspace: Path) -> None:
    with Image.open(io.BytesIO(demo_curve.draw(curve, workspace / "demo"))) as picture:
        assert picture.format == "PNG"
        colours = dict(map(reversed, picture.convert("RGB").getcolors(2**24) or ()))  # type: ignore[arg-type]
    blue, orange, purple, red = (31, 119, 180), (255, 127, 14), (148, 103, 189), (214, 39, 40)
    assert min(colours.get(colour, 0) for colour in (blue, orange, purple, red)) > 300


def test_rows_that_cannot_be_read_are_an_error(workspace: Path) -> None:
    finished.finish(workspace / "demo")
    (workspace / "demo" / "data" / "heldout" / "problems.jsonl").write_text("{}\n")
    done = virc("demo", "--quick")
    assert (done.code, done.out) == (5, "")
    assert "data/heldout/problems.jsonl cannot be read: " in done.err
