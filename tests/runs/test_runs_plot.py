"""`virc runs plot` draws what runs measured."""

import math
import random
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.called import virc
from support.made import add, make, metric

from virc.core.extras import install
from virc.runs import plots
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


def test_without_matplotlib_the_extra_is_named(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    falling(make(workspace, "a"), 5)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    done = virc("runs", "plot", "a")
    assert done.code == 4
    assert done.err.endswith(f"hint: {install('plot')}\n")


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


@pytest.mark.integration
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
