"""`virc runs plot` draws what runs measured."""

import random
import sys
from pathlib import Path

import pytest
from PIL import Image
from support.called import virc
from support.made import add, make, metric

from virc.core.extras import install
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
    shown = virc("runs", "plot", "a", "--json").json
    assert shown == {"schema": "virc.runs.plot/1", "names": ["a"], "plot": str(path), "error": None}
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
