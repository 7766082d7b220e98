"""`virc runs compare` prints what differs between runs, and draws them over each other."""

from pathlib import Path

import pytest
from support.called import virc
from support.made import make

from virc.runs import run as runs
from virc.runs.run import Run
from virc_extras.plots import pictures as plots


@pytest.fixture
def two(workspace: Path) -> list[Run]:
    first = make(workspace, "a", steps=3)
    settings = {**runs.info(first).settings, "learning_rate": 1e-3, "lora": {"rank": 4, "alpha": 16}}
    return [first, make(workspace, "b", steps=3, settings=settings, base="/models/tiny-base")]


def test_a_comparison_is_a_table_and_a_picture(two: list[Run], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plots, "write", lambda drawn, path: path)
    for run, progress, loss in zip(two, ("finished", "stopped"), (0.25, 0.123456), strict=True):
        runs.write_state(run, progress=progress, loss=loss)
    done = virc("runs", "compare", "a", "b")
    *lines, picture = done.out.splitlines()
    cells = [line.split() for line in lines]
    assert cells[0] == ["setting", "a", "b"]
    assert ["base", "/models/tiny", "/models/tiny-base"] in cells
    results = cells[cells.index(["result", "a", "b"]) :]
    assert (results[1], results[3]) == (["progress", "finished", "stopped"], ["loss", "0.25", "0.1235"])
    assert picture == str(two[0].folder / "plots" / "compared.png")
    said = virc("runs", "compare", "a", "b", "--json").json
    assert said["results"]["loss"] == [0.25, 0.123456]
    assert said["results"].keys() == {"progress", "step", "loss", "seconds"}  # none has a reward
    assert (said["names"], said["settings"]["learning_rate"][1], said["plot"]) == (["a", "b"], 1e-3, picture)
