"""`virc runs compare` prints what differs between runs, and draws them over each other."""

import json
from pathlib import Path

import pytest
from support.called import virc
from support.made import make

from virc.runs import plots
from virc.runs import run as runs
from virc.runs.comparing import differing, results
from virc.runs.run import Run


@pytest.fixture
def two(workspace: Path) -> list[Run]:
    first = make(workspace, "a", steps=3)
    settings = {**runs.info(first).settings, "learning_rate": 1e-3, "lora": {"rank": 4, "alpha": 16}}
    return [first, make(workspace, "b", steps=3, settings=settings, base="/models/tiny-base")]


def test_settings_that_differ_are_named_with_their_values(two: list[Run]) -> None:
    found = differing(two)
    before = runs.info(two[0]).settings
    assert found["base"] == ["/models/tiny", "/models/tiny-base"]
    assert found["learning_rate"] == [before["learning_rate"], 1e-3]
    assert found["lora.rank"] == [before["lora"]["rank"], 4]
    assert not {"seed", "rows", "name", "created"} & found.keys()
    assert differing([two[0], two[0]]) == {}


def test_a_setting_that_one_of_three_has_is_named(two: list[Run], workspace: Path) -> None:
    assert differing([*two, make(workspace, "c", steps=3)]).keys() == differing(two).keys()
    settings = {**runs.info(two[0]).settings, "further": 2}
    assert differing([two[0], two[0], make(workspace, "d", settings=settings)]) == {"further": [None, None, 2]}


def test_a_measure_that_one_run_has_is_compared(two: list[Run]) -> None:
    runs.write_state(two[1], reward=0.5)
    assert results(two)["reward"] == [None, 0.5]
    assert "best_validation" not in results(two)


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


def test_runs_with_the_same_settings_say_so(two: list[Run], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plots, "write", lambda drawn, path: path)
    info = json.loads((two[0].folder / "run.json").read_bytes())
    (two[1].folder / "run.json").write_text(json.dumps(info | {"name": "b"}))
    lines = virc("runs", "compare", "a", "b").out.splitlines()
    assert lines[0] == "all settings are the same"
    assert lines[1].split() == ["result", "a", "b"]


def test_one_run_is_compared_with_nothing(two: list[Run]) -> None:
    done = virc("runs", "compare", "a", "a")
    assert (done.code, "hint: virc runs show a" in done.err) == (2, True)
