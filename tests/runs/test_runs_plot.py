"""`virc runs plot` draws what runs measured."""

import math
import random
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageChops
from support.called import virc
from support.made import add, make, metric

from virc.core.errors import VircError
from virc.core.extras import install
from virc.runs import plots
from virc.runs import plots as courses
from virc.runs.metrics import Metric
from virc.runs.plots import Course
from virc.runs.run import Run

drawing = pytest.mark.integration  # a picture takes a second

Colour = tuple[int, int, int]
BLUE, ORANGE = (31, 119, 180), (255, 127, 14)  # the first two of matplotlib's


def falling(run: Run, count: int) -> Run:
    draw = random.Random(1)
    add(run, *(metric(step, count, loss=5 / step**0.5 + draw.random() / 5) for step in range(1, count + 1)))
    return run


def drawn(path: Path) -> dict[Colour, int]:
    """The colours of a picture, and how many pixels have each."""
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        assert picture.size == (1200, 900)
        rgb = picture.convert("RGB")
        colours = rgb.getcolors(1200 * 900)
    assert colours is not None
    return {colour: count for count, colour in colours}  # type: ignore[misc]


@drawing
def test_a_run_is_drawn_beside_its_metrics(workspace: Path) -> None:
    run = falling(make(workspace, "a"), 200)
    done = virc("runs", "plot", "a")
    path = run.folder / "plots" / "metrics.png"
    assert (done.code, done.out, done.err) == (0, f"{path}\n", "")
    colours = drawn(path)
    assert colours[BLUE] > 1000
    assert ORANGE not in colours
    assert [each.name for each in path.parent.iterdir()] == ["metrics.png"]


@drawing
def test_many_points_are_pale_and_their_mean_is_not(workspace: Path) -> None:
    for name, count in (("few", 30), ("many", 31)):
        add(make(workspace, name), *(Metric(step=step, loss=step % 2) for step in range(count)))
    few, many = (drawn(Path(virc("runs", "plot", name).out.strip())) for name in ("few", "many"))
    across = 1000  # pixels from the first point to the last, at least
    assert few[BLUE] > 5 * across  # up and down at every step
    assert across < many[BLUE] < few[BLUE] / 2


@drawing
def test_several_runs_have_a_colour_each(workspace: Path) -> None:
    first = falling(make(workspace, "a"), 200)
    falling(make(workspace, "b"), 100)
    done = virc("runs", "plot", "a", "b")
    assert done.out == f"{first.folder / 'plots' / 'compared.png'}\n"
    colours = drawn(Path(done.out.strip()))
    assert min(colours[BLUE], colours[ORANGE]) > 500


@drawing
def test_of_equal_curves_both_are_seen(workspace: Path) -> None:
    found = [make(workspace, name, steps=200) for name in "ab"]
    colours = drawn(plots.write(found, workspace / "a.png"))
    assert min(colours[BLUE], colours[ORANGE]) > 300
    dashed = [handle.get_linestyle() for handle in plots._handles(["C0", "C1"], 1, [plots._style(0), plots._style(1)])]
    assert dashed == ["-", "--"]  # the legend, too


@drawing
def test_a_picture_may_go_elsewhere(workspace: Path) -> None:
    falling(make(workspace, "a"), 5)
    assert virc("runs", "plot", "a", "--to", "figures/loss.PNG").out == "figures/loss.PNG\n"
    assert drawn(workspace / "figures" / "loss.PNG")
    done = virc("runs", "plot", "a", "--to", "loss.pdf")
    assert (done.code, done.out, (workspace / "loss.pdf").exists()) == (2, "", False)
    (workspace / "file").touch()
    done = virc("runs", "plot", "a", "--to", "file/loss.png")
    assert (done.code, done.err.startswith("error: cannot write file/loss.png: ")) == (1, True)


def test_a_run_without_metrics_is_named(workspace: Path) -> None:
    falling(make(workspace, "a"), 5)
    make(workspace, "b")
    done = virc("runs", "plot", "a", "b")
    assert (done.code, done.out) == (3, "")
    assert done.err.startswith("error: b has no metrics yet\n")


def test_without_matplotlib_the_extra_is_named(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    falling(make(workspace, "a"), 5)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    done = virc("runs", "plot", "a")
    assert done.code == 4
    assert done.err.endswith(f"hint: {install('plot')}\n")


HOSTILE = {
    "one": '{"step": 1, "loss": 1}',
    "nan": '{"step": 1, "loss": NaN}\n{"step": 2, "loss": -Infinity}',
    "null": '{"step": 1, "loss": null, "learning_rate": 1e-6}',
    "huge": '{"step": 1, "loss": 1e308}\n{"step": 2, "loss": -1e308}\n{"step": 3, "loss": 1}',
    "steps": '{"step": -5, "loss": 1}\n{"step": 9223372036854775807, "loss": 2}\n{"step": 1, "loss": 2}',
    "tiny": '{"step": 1, "loss": 1e-320}\n{"step": 2, "loss": 0}',
    "back": '{"step": 9, "loss": 1}\n{"step": 2, "loss": 2, "attempt": 7}\n{"step": 2, "loss": 3}',
    "eval": '{"step": 9, "eval_loss": 1}',
}


@drawing
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.filterwarnings("error")
def test_odd_metrics_are_drawn_too(text: str, workspace: Path) -> None:
    run = make(workspace, "a")
    run.metrics.write_text(text + "\n")
    run.folder.rename(workspace / "runs" / "$x^{$ 图")
    done = virc("runs", "plot", "$x^{$ 图")
    assert (done.code, done.err) == (0, "")
    assert drawn(Path(done.out.strip()))[BLUE] > 0


def test_every_number_that_is_measured_is_drawn(workspace: Path) -> None:
    run = make(workspace, "a")
    add(run, metric(1, epoch=0.1, tokens=5), metric(2, loss=None, learning_rate=None, eval_loss=0.5))
    found = courses.read(run).courses
    assert set(found) == {"loss", "eval_loss", "learning_rate", "tokens_per_second"}
    assert (found["eval_loss"].steps, found["eval_loss"].values) == ([2], [0.5])


def test_panels_have_what_any_run_measured(workspace: Path) -> None:
    replies: dict[str, Any] = {"response_length": 5.0, "grad_norm": 1.0, "reward_min": 0.1, "judge_failures": 2}
    first, second = make(workspace, "a"), make(workspace, "b")
    add(first, metric(1))
    add(second, metric(1, loss=None, reward=0.5, terms={"format": 1.0, "answer": 0.4}, **replies))
    found = {panel.title: [*panel.names] for panel in courses.panels([courses.read(first), courses.read(second)])}
    alone = ("loss", "grad_norm", "learning_rate", "tokens_per_second")
    assert found == {name: [name] for name in alone} | {
        "reward": ["reward", "terms.answer", "terms.format"], "tokens of a reply": ["response_length"],
    }  # fmt: skip


def test_panels_stand_below_the_main_one_two_in_a_row_and_then_those_with_many_lines(
    workspace: Path, figure: Any
) -> None:
    run = make(workspace, "a")
    parts = dict.fromkeys("abcdef", 1.0)
    add(run, *(Metric(step=step, loss=1.0, entropy=1.0, kl=0.1, grad_norm=2.0, parts=parts) for step in (1, 2)))
    plots.write([run], workspace / "a.png")
    specs = {axes.get_title(loc="left"): axes.get_subplotspec() for axes in figure.axes}
    assert {title: (spec.rowspan.start, [*spec.colspan]) for title, spec in specs.items()} == {
        "loss": (0, [0, 1]), "entropy": (1, [0]), "kl": (1, [1]), "grad norm": (2, [0, 1]),
        "seconds of a step": (3, [0, 1]),
    }  # fmt: skip
    assert len({axes.get_xlim() for axes in figure.axes}) == 1
    with pytest.raises(VircError, match="cannot write "):
        plots.write([run], workspace)


def test_a_name_is_text_of_at_most_48_characters() -> None:
    assert plots._plain("$x$ y") == r"\$x\$ y"
    assert plots._plain("a" * 30 + "b" * 30) == "a" * 24 + "…" + "b" * 23


@pytest.mark.parametrize(("reply", "panel"), [({}, "loss"), ({"response_length": 5.0}, "reward")])
def test_a_step_that_diverged_is_marked_in_the_main_panel(workspace: Path, reply: dict[str, float], panel: str) -> None:
    run = make(workspace, "a")
    add(run, metric(1, **reply, **{panel: 2.0}), metric(2, loss=None, **reply))
    assert courses.read(run).courses[panel].bad == [2]


def test_points_beyond_the_axis_are_marked_at_its_edge() -> None:
    from matplotlib.figure import Figure

    axes = Figure().subplots()
    assert plots.draw_course(axes, Course([1, 2, 3, 4], [1.0, 9.0, 1.0, 1.0], [5]), "red", (0.0, 2.0))
    assert not plots.draw_course(axes, Course([1, 2], [1.0, 1.0], []), "red", (0.0, 2.0))
    assert [[*map(float, line.get_xdata())] for line in axes.lines] == [[1, 2, 3, 4], [5, 2], [1, 2]]


def test_margin_and_rewards_of_both_sides_are_drawn(workspace: Path) -> None:
    run = make(workspace, "a")
    sides = {"margin": 0.3, "accuracy": 1.0, "chosen_reward": 0.1, "rejected_reward": -0.2}
    add(run, metric(1, **sides), metric(2, **sides))
    panels = {panel.title: panel.names for panel in courses.panels([courses.read(run)])}
    assert [*panels["margin"]] == ["margin"]
    assert panels["rewards of both sides"] == ["chosen_reward", "rejected_reward"]
    assert "accuracy" in panels
    line = virc("runs", "show", "a").out
    assert "margin 0.3" in line
    assert "accuracy 1" in line


def test_steps_without_a_number_are_kept_apart(workspace: Path) -> None:
    run = make(workspace, "a")
    add(run, metric(1, loss=2.0), metric(2, loss=math.nan))
    with run.metrics.open("a") as file:
        file.write('{"step": 3, "loss": Infinity}\n')
    course = courses.read(run).courses["loss"]
    assert (course.steps, course.values, course.bad) == ([1], [2.0], [2, 3])


@drawing
def test_attempts_are_marked(workspace: Path) -> None:
    pictures = []
    for attempt in (1, 4):
        run = make(workspace / str(attempt), "a")
        add(run, *(metric(step) for step in range(1, 50)), metric(50, attempt=attempt))
        assert courses.read(run).resumed == ([(50, 4)] if attempt == 4 else [])
        pictures.append(Image.open(plots.write([run], run.folder / "a.png")).convert("RGB"))
    left, top, right, bottom = ImageChops.difference(*pictures).getbbox() or (0, 0, 0, 0)
    assert right > left
    assert bottom - top > 700  # a line through every panel


def test_an_outlier_does_not_flatten_the_rest(workspace: Path) -> None:
    run = falling(make(workspace, "a"), 400)
    values = sorted(courses.read(run).courses["loss"].values)
    assert plots.limits([*values, 900.0]) == plots.limits([*values, 90.0])
    low, high = plots.limits([*values, 900.0]) or (0.0, 0.0)
    assert low < values[0]
    assert values[395] < high < 10
    assert plots.limits([1.0, 900.0]) == pytest.approx((1 - 44.95, 900 + 44.95))
    assert plots.limits([]) is None
    assert plots.limits([3.0, 3.0]) == pytest.approx((2.7, 3.3))
    assert plots.limits([0.0, 0.0]) == pytest.approx((-0.1, 0.1))


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=300))
def test_the_running_mean_lies_among_the_values(values: list[float]) -> None:
    means = plots.running_mean(values)
    assert len(means) == len(values)
    assert all(min(values) - 1e-3 <= mean <= max(values) + 1e-3 for mean in means)
    assert means[0] == pytest.approx(values[0], abs=1e-3)


def test_the_running_mean_of_a_line_is_that_line() -> None:
    line = [float(number) for number in range(200)]
    assert plots.running_mean(line)[:195] == pytest.approx(line[:195])
    assert plots.running_mean([0.0] * 50 + [1.0] * 50)[48:52] == pytest.approx([0.2, 0.4, 0.6, 0.8])


@pytest.mark.parametrize(
    ("words", "file"),
    [
        (["a"], "runs/a/plots/metrics.png"),
        (["a", "a"], "runs/a/plots/metrics.png"),  # one run
        (["b", "a"], "runs/b/plots/compared.png"),
        (["a", "b", "--to", "x.PNG"], "x.PNG"),
    ],
)
def test_a_picture_is_beside_its_run_or_where_it_is_wanted(
    words: list[str], file: str, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "ab":
        make(workspace, name)
    monkeypatch.setattr(plots, "write", lambda drawn, path: f"{[run.name for run in drawn]} {path}")
    drawn = list(dict.fromkeys(word for word in words if word in "ab"))
    assert virc("runs", "plot", *words).out.strip() in (f"{drawn} {workspace / file}", f"{drawn} {file}")
    done = virc("runs", "plot", "a", "--to", "x.jpg")
    assert (done.code, "--to x.jpg.png" in done.err) == (2, True)


@pytest.fixture
def figure(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What a picture is drawn into, which is not rendered."""
    from matplotlib.figure import Figure

    figure = Figure()
    monkeypatch.setattr(plots, "picture", lambda fill: fill(figure) or b"")
    return figure


def lines_of(axes: Any) -> list[list[float]]:
    """The values of its curves, without those of a line at a step."""
    return [[*map(float, line.get_ydata())] for line in axes.lines if line.get_linestyle() != ":"]


def test_panels_have_the_values_of_one_run_with_a_name_for_each_line(workspace: Path, figure: Any) -> None:
    run = make(workspace, "a")
    sides = [{"chosen_reward": 0.1 * step, "rejected_reward": -0.2 * step} for step in (1, 2, 3)]
    add(run, *(metric(step, loss=5.0 - step, **each) for step, each in zip((1, 2, 3), sides, strict=True)))
    add(run, metric(4, attempt=2, loss=math.nan), metric(5, attempt=2, loss=math.nan))
    plots.write([run], workspace / "a.png")
    panels = {axes.get_title(loc="left"): axes for axes in figure.axes}
    assert figure.get_suptitle() == "a"
    loss, both = panels["loss"], panels["rewards of both sides"]
    assert lines_of(loss)[0] == [4.0, 3.0, 2.0]
    assert lines_of(loss)[1] == [1.0, 1.0]  # the steps that are no numbers, at the upper edge
    assert "not a number" in loss.get_title(loc="right")
    assert [text.get_text() for text in loss.texts] == ["attempt 2"]
    assert [next(iter(line.get_xdata())) for line in loss.lines if line.get_linestyle() == ":"] == [4]
    assert loss.get_position().width > 1.9 * both.get_position().width or len(panels) < 3
    low, high = loss.get_ylim()
    assert (low < 2, 4 < high < 5) == (True, True)
    assert [text.get_text() for text in both.get_legend().get_texts()] == ["chosen reward", "rejected reward"]
    values = {line.get_color(): [*line.get_ydata()] for line in both.lines if len(line.get_ydata()) == 3}
    colours = [handle.get_color() for handle in both.get_legend().legend_handles]
    assert [values[colour][0] for colour in colours] == pytest.approx([0.1, -0.2])
    assert {axes.get_xlabel() for axes in figure.axes} == {"step"}


def test_runs_that_are_compared_have_a_colour_and_a_name_each_in_every_panel(workspace: Path, figure: Any) -> None:
    first, second = (make(workspace, name) for name in ("a", "b" * 60))
    add(first, *(metric(step, loss=1.0) for step in (1, 2)))
    add(second, *(metric(step, loss=2.0, chosen_reward=0.5) for step in (1, 2)))
    plots.write([first, second], workspace / "a.png")
    assert figure.get_suptitle() == "2 runs"
    (legend,) = figure.legends
    names = [text.get_text() for text in legend.get_texts()]
    assert names[0] == "a"
    assert len(names[1]) < 50
    colours = [handle.get_color() for handle in legend.legend_handles]
    (loss,) = [axes for axes in figure.axes if axes.get_title(loc="left") == "loss"]
    assert [(line.get_color(), [*line.get_ydata()]) for line in loss.lines] == [
        (colours[0], [1, 1]),
        (colours[1], [2, 2]),
    ]
    assert not loss.texts  # attempts of several runs are not numbered
    assert [handle.get_linestyle() for handle in legend.legend_handles] == ["-", "--"]  # equal curves are both seen


def test_labels_of_attempts_do_not_overlap_and_large_numbers_are_short(workspace: Path, figure: Any) -> None:
    run = make(workspace, "a")
    for number, steps in enumerate((range(1, 50), range(50, 51), range(51, 90), range(90, 100)), 1):
        add(run, *(metric(step, attempt=number, loss=-2e5 - step) for step in steps))
    plots.write([run], workspace / "a.png")
    (loss,) = [axes for axes in figure.axes if axes.get_title(loc="left") == "loss"]
    assert [text.get_text() for text in loss.texts] == ["attempt 2", "attempt 4"]
    assert loss.yaxis.get_major_formatter()(-200_000.0) == "−200k"


@pytest.mark.parametrize("count", [1, 10, 11, 30])
def test_each_run_has_a_colour_of_its_own(count: int) -> None:
    assert len({*plots._colours(count)}) == count


@pytest.mark.parametrize(
    ("count", "name", "lines"), [(30, "loss", 1), (31, "loss", 2), (31, "learning_rate", 1), (1000, "loss", 2)]
)
def test_many_points_get_a_mean_but_what_was_set(
    count: int, name: str, lines: int, workspace: Path, figure: Any
) -> None:
    run = make(workspace, "a")
    add(run, *(metric(step, **{"loss": 1.0, name: 1.0 + step % 2}) for step in range(1, count + 1)))
    plots.write([run], workspace / "a.png")
    (axes,) = [each for each in figure.axes if each.get_title(loc="left") == name.replace("_", " ")]
    assert len(axes.lines) == lines
    assert (axes.lines[0].get_alpha() < 1) == (lines == 2)
    assert axes.lines[-1].get_alpha() in (None, 1.0)


@pytest.mark.parametrize(
    ("value", "said"),
    [(0.0, "0"), (1.5, "1.5"), (2e-6, "2e-6"),
     (-1.25e-5, "-1.25e-5"), (0.001, "0.001"), (1234567.0, "1.23457e+06")],
)  # fmt: skip
def test_numbers_of_an_axis_are_short(value: float, said: str) -> None:
    assert plots._number(value, 0) == said
