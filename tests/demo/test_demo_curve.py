"""The curve of a demo says what its evaluations say, as figures, as a table and as a picture."""

import io
import json
from pathlib import Path

import finished
import msgspec
import pytest
from PIL import Image
from support.called import virc

from virc.demo import curve as demo_curve
from virc.demo.curve import Curve, Gain, Scores
from virc.demo.plan import QUICK, STAGES
from virc.evaluation.statistics import wilson
from virc.runs import plots
from virc_cli.commands.demo import lines


@pytest.fixture
def curve(workspace: Path) -> Curve:
    finished.finish(workspace / "demo")
    return demo_curve.read(workspace / "demo", finished.QUICK)


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


def test_sampled_answers_have_shares_and_gains_of_their_own(curve: Curve) -> None:
    sampled = [right(stage.sampled) for stage in curve.stages]
    assert sampled == [(0, 0, 0), (1, 1, 0), (2, 2, 0), (9, 8, 1), (0, 0, 0)]
    drawn, likeliest = (gain(curve, "rl", "all", replies) for replies in ("sampled", "greedy"))
    assert (drawn.difference, drawn.p) == (pytest.approx(0.35), pytest.approx(2 / 2**7))
    assert likeliest.difference == pytest.approx(0.25)


def test_what_was_not_asked_is_not_said(curve: Curve) -> None:
    counterfactuals = {stage.name: stage.counterfactual and stage.counterfactual.right for stage in curve.stages}
    assert counterfactuals == {"base": None, "instruct": 3, "practice": 3, "rl": 3, "direct": None}
    assert [stage.blank and stage.blank.right for stage in curve.stages] == [1, 1, 1, 1, None]


def test_how_the_answers_came_about(curve: Curve) -> None:
    assert {(stage.calls, stage.format_errors) for stage in curve.stages} == {(3.0, 0.25)}
    assert {(stage.looked.count, stage.looked.of) for stage in curve.stages} == {(10, 20)}
    assert {(stage.strange.right, stage.strange.of) for stage in curve.stages} == {(3, 4)}
    assert {(stage.refused.count, stage.refused.of) for stage in curve.stages} == {(1, 19)}
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
def test_gains_are_on_the_same_problems(curve: Curve, stage: str, part: str, of: int, points: float, p: float) -> None:
    found = gain(curve, stage, part)
    assert (found.of, found.p) == (of, pytest.approx(p))
    assert found.difference == pytest.approx(points)
    assert found.interval[0] <= found.difference <= found.interval[1]


def test_the_gains_are_those_that_the_evaluation_names_itself(curve: Curve, workspace: Path) -> None:
    summary = json.loads((workspace / "demo" / "evals" / "greedy" / "summary.json").read_bytes())
    pairs = {(pair["one"], pair["other"]): pair for pair in summary["pairs"]}
    for one, other, stage in ((QUICK.start, "instruct@40", "instruct"), ("practice@40", "rl", "rl")):
        pair, found = pairs[one, other], gain(curve, stage, "all")
        low, high = pair["interval"]
        assert (found.difference, found.p) == (pytest.approx(-pair["bounds"][0]), pair["p"])
        assert found.interval == pytest.approx((-high, -low))


def test_the_page_is_of_a_hard_problem_that_the_last_stage_solves(curve: Curve) -> None:
    assert curve.page == "evals/pages/traces/rl/12/index.html"


def test_a_demo_may_have_no_hard_problem_no_evidence_and_few_pages(workspace: Path) -> None:
    folder = workspace / "demo"
    finished.finish(folder)
    summary = json.loads((folder / "evals" / "greedy" / "summary.json").read_bytes())
    for model in summary["models"]:
        del model["categories"]["difficulty"]["hard"]
        model["evidence"] = None
    (folder / "evals" / "greedy" / "summary.json").write_text(json.dumps(summary))
    finished.pages(folder, finished.QUICK, [19, 1])
    read = demo_curve.read(folder, finished.QUICK)
    assert read.page == "evals/pages/traces/rl/1/index.html"  # rather one that is solved than a hard one
    assert [each.part for each in read.gains if each.replies == "greedy"] == ["all", "easy"] * 3
    assert {(stage.looked.of, stage.greedy.hard.of) for stage in read.stages} == {(0, 0)}
    assert {"rl 70.0% 48.1 to 85.5 80.0% - 15.0% 5.0%", "rl 3.00 - 0.25 75.0% 5.3%"} <= {*words(read)}
    finished.pages(folder, finished.QUICK, [])
    assert demo_curve.read(folder, finished.QUICK).page is None


@pytest.fixture(scope="module")
def uncontrolled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Curve, Path]:
    """The curve of a demo without a control, and its folder."""
    size = msgspec.structs.replace(QUICK, control=False)
    begun = msgspec.structs.replace(finished.QUICK, size=size)
    folder = tmp_path_factory.mktemp("uncontrolled")
    finished.finish(folder, begun)
    return demo_curve.read(folder, begun), folder


def test_a_demo_without_a_control_has_a_curve_too(uncontrolled: tuple[Curve, Path]) -> None:
    assert [stage.name for stage in uncontrolled[0].stages] == [*STAGES]
    assert {gain.stage for gain in uncontrolled[0].gains} == set(STAGES[1:])


@pytest.mark.integration
def test_a_demo_without_a_control_has_a_picture_too(uncontrolled: tuple[Curve, Path]) -> None:
    assert demo_curve.draw(*uncontrolled).startswith(b"\x89PNG")


def test_every_step_has_its_command_and_its_time(curve: Curve) -> None:
    assert [step.seconds for step in curve.steps] == [3.8, *[2.5] * 16]  # of all tries
    assert curve.steps[1].command.startswith("virc train tiny --stage instruct --from ")


def words(curve: Curve) -> list[str]:
    return [" ".join(line.split()) for line in lines(curve)]


def test_the_curve_is_four_tables(curve: Curve) -> None:
    found = words(curve)
    assert found[0] == "20 held-out problems; always the most common answer: 15.0%"
    starts = [at + 2 for at, line in enumerate(found) if not line]
    assert [found[at + 3] for at in starts[:3]] == [
        "rl 70.0% 48.1 to 85.5 80.0% 60.0% 15.0% 5.0%", "rl 45.0% 25.8 to 65.8 80.0% 10.0%",
        "rl 3.00 50.0% 0.25 75.0% 5.3%",
    ]  # fmt: skip
    assert found[starts[0] + 4] == "direct 5.0% 0.9 to 23.6 10.0% 0.0% - -"
    assert "rl minus practice greedy hard +50.0 +8.2 to +74.6 0.062" in found[starts[3] :]


@pytest.mark.integration
def test_the_command_prints_the_curve_and_leaves_it_with_a_picture(workspace: Path) -> None:
    finished.finish(workspace / "demo")
    done = virc("demo", "--quick")
    assert done.code == 0, done.err
    printed = done.out.splitlines()
    assert max(map(len, printed)) <= 80
    assert "rl        70.0%   48.1 to 85.5   80.0%  60.0%  15.0%           5.0%" in printed
    assert f"a problem of the rl evaluation: {Path('demo/evals/pages/traces/rl/12/index.html')}\n" in done.err
    written = json.loads((workspace / "demo" / "curve.json").read_bytes())
    assert (written["schema"], written["base"], len(written["stages"])) == ("virc.demo/1", QUICK.start, 5)
    again = virc("demo", "--quick", "--json")
    assert again.json == {**written, "folder": "demo", "plot": "demo/curve.png", "error": None}
    assert set(again.json) - {"schema", "error"} == set(virc("demo", "--nosuch", "--json").json) - {"schema", "error"}


def test_pairs_come_in_any_order(workspace: Path) -> None:
    """Who types `virc eval` by hand may ask the last stage first."""
    finished.finish(workspace / "demo")
    before = demo_curve.read(workspace / "demo", finished.QUICK).gains
    backwards = {name: finished.RIGHT[name] for name in reversed(finished.RIGHT)}
    finished.evaluate(workspace / "demo", finished.QUICK, "greedy", backwards)
    assert demo_curve.read(workspace / "demo", finished.QUICK).gains == before


def test_two_checkpoints_of_a_stage_are_one_too_many(workspace: Path) -> None:
    finished.finish(workspace / "demo")
    place = workspace / "demo" / "evals" / "counterfactual"
    summary = json.loads((place / "summary.json").read_bytes())
    other = {**summary["models"][0], "name": "instruct@20"}
    (place / "summary.json").write_text(json.dumps({**summary, "models": [*summary["models"], other]}))
    done = virc("demo", "--quick")
    sentence = f"error: {place.relative_to(workspace)} holds instruct@40 and instruct@20\n"
    sentence += f"hint: remove {place.relative_to(workspace)}\n"
    assert (done.code, done.out) == (3, "")
    assert done.err.endswith(sentence)


def test_each_panel_draws_its_own_shares(curve: Curve, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib.figure import Figure

    figure = Figure()
    monkeypatch.setattr(plots, "picture", lambda fill: fill(figure))
    demo_curve.draw(msgspec.structs.replace(curve, problems=1234, seed=7), workspace / "demo")
    assert figure.get_suptitle() == "tiny, stage by stage, on 1,234 problems held out (seed 7)"
    greedy, sampled, *_ = (
        {bars.get_label(): bars[0].get_ydata().tolist() for bars in axes.containers} for axes in figure.axes
    )
    (low, high), *_ = reversed(figure.axes[0].containers[2][2][0].get_segments())  # of hard ones
    assert (low.tolist(), high.tolist()) == ([3.03, wilson(6, 10)[0]], pytest.approx([3.03, wilson(6, 10)[1]]))
    alone = [[bars[0].get_xydata().tolist() for bars in axes.containers[1::2]] for axes in figure.axes[:2]]
    assert alone == [[[[3.97, 0.1]], [[4.03, 0.0]]], [[[3.97, 0.0]], [[4.03, 0.0]]]]
    names = [(label.get_position()[0], label.get_text()) for label in figure.axes[0].get_xticklabels()]
    assert names == list(enumerate(["base", "instruct", "practice", "rl", "without\ntools"]))
    assert figure.axes[1].yaxis.get_major_formatter()(0.5, 0) == "50 %"
    trained = [[text.get_text() for text in axes.get_legend().get_texts()] for axes in figure.axes[2:]]
    assert trained == [["instruct", "practice"], ["rl"]]
    assert greedy["hard"] == pytest.approx([0, 0, 0.1, 0.6])
    assert sampled["easy"] == pytest.approx([0, 0.1, 0.2, 0.8])
    assert sampled["hard"] == pytest.approx([0, 0, 0, 0.1])
    counterfactuals = next(line for line in figure.axes[0].get_lines() if str(line.get_label()).startswith("crops of"))
    assert counterfactuals.get_xydata().tolist() == [[1, 0.15], [2, 0.15], [3, 0.15]]


@pytest.mark.integration
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
    assert done.err.endswith("\nhint: remove demo/data/heldout\n")
