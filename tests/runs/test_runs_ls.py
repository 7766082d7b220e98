"""`virc runs ls` shows how far every run is; `path` where it lies."""

from pathlib import Path

from support.called import virc
from support.made import make, running


def rows(text: str) -> dict[str, list[str]]:
    return {line.split()[0]: line.split()[1:] for line in text.splitlines()}


def test_a_run_whose_process_is_gone_has_died(workspace: Path) -> None:
    run = make(workspace, "a")
    with running(run) as child:
        child.kill()
        child.wait()
        assert rows(virc("runs", "ls").out)["a"][0] == "died"


def test_a_run_that_cannot_be_read_hides_no_other(workspace: Path) -> None:
    make(workspace, "whole", 2)
    (make(workspace, "broken").folder / "run.json").write_text("{")
    (make(workspace, "lost").folder / "state.json").write_text('{"progress": "odd"}')
    done = virc("runs", "ls")
    assert done.code == 0
    found = rows(done.out)
    assert (found["whole"][0], found["broken"][0], found["lost"][0]) == ("finished", "unreadable", "unreadable")
    assert "broken/run.json cannot be read" in done.err
    listed = virc("runs", "ls", "--json").json["runs"]
    assert {row["name"]: row["error"] is None for row in listed} == {"broken": False, "lost": False, "whole": True}
