"""`virc runs ls` shows how far every run is; `path` where it lies."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.called import virc
from support.made import add, make, metric, running, save

from virc.runs import run as runs
from virc_cli.commands.runs import ls


def rows(text: str) -> dict[str, list[str]]:
    return {line.split()[0]: line.split()[1:] for line in text.splitlines()}


def test_the_newest_run_is_the_last(workspace: Path) -> None:
    make(workspace, "b", 4, "2026-03-03T00:00:00+00:00")
    make(workspace, "a", 0, "2026-03-05T00:00:00+00:00")
    third = make(workspace, "c", 0, "2026-03-04T00:00:00+00:00")
    assert rows(virc("runs", "ls").out)["name"] == ["state", "step", "loss", "begun"]
    runs.write_state(third, progress="failed", attempt=1, reward=0.5, error="the disk is full")
    done = virc("runs", "ls")
    assert [line.split()[0] for line in done.out.splitlines()] == ["name", "b", "c", "a"]
    assert rows(done.out)["name"] == ["state", "step", "loss", "reward", "begun"]
    assert rows(done.out)["b"][:4] == ["finished", "4/4", "0.25", "-"]
    assert rows(done.out)["c"][:4] == ["failed", "0", "-", "0.5"]
    assert done.err == ""
    assert virc("runs", "ls", "--json").json["runs"][1]["error"] == "the disk is full"
    assert rows(done.out)["a"][:3] == ["new", "0", "-"]


def test_a_running_run_says_how_long_it_still_takes(workspace: Path) -> None:
    run = make(workspace, "a")
    add(run, *(metric(step, 100) for step in range(1, 41)))  # two seconds a step
    add(run, *(metric(step, 100, attempt=2, seconds=6.0 * step) for step in range(41, 51)))
    with running(run):
        runs.write_state(run, step=50, total=100)
        assert rows(virc("runs", "ls").out)["a"] == ["running", "50/100", "-", "5", "min", "left"]
        assert virc("runs", "ls", "--json").json["runs"][0]["seconds_left"] == 300.0
    runs.write_state(run, progress="stopped")
    assert "left" not in rows(virc("runs", "ls").out)["a"]
    assert virc("runs", "ls", "--json").json["runs"][0]["seconds_left"] is None


def test_a_run_whose_process_is_gone_has_died(workspace: Path) -> None:
    run = make(workspace, "a")
    with running(run) as child:
        child.kill()
        child.wait()
        assert rows(virc("runs", "ls").out)["a"][0] == "died"


def test_another_process_with_the_same_id_is_not_the_run(workspace: Path) -> None:
    run = make(workspace, "a")
    here = runs.this_process()
    runs.write_state(run, progress="running", **{**here, "started": here["started"] - 1})
    assert runs.state(run).progress == "died"


def test_a_run_on_another_machine_lives_as_long_as_it_gives_signs_of_life(workspace: Path) -> None:
    run = make(workspace, "a")
    runs.write_state(run, progress="running", pid=1, host="elsewhere", started=1)
    assert rows(virc("runs", "ls").out)["a"][0] == "running"
    long_ago = time.time() - 1000
    os.utime(run.folder / "state.json", (long_ago, long_ago))
    assert rows(virc("runs", "ls").out)["a"][0] == "died"
    assert socket.gethostname() != "elsewhere"


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


def test_the_newest_finished_run_is_found_beside_one_that_cannot_be_read(workspace: Path) -> None:
    (make(workspace, "broken").folder / "run.json").write_text("{")
    first = make(workspace, "first", 2, "2026-01-01T00:00:00+00:00")
    second = make(workspace, "second", 2, "2026-01-02T00:00:00+00:00")
    make(workspace, "new", 0, "2026-01-03T00:00:00+00:00")
    assert runs.newest_finished(workspace, "tiny", "instruct", "tiny") == second
    runs.write_state(second, progress="failed")
    assert runs.newest_finished(workspace, "tiny", "instruct", "tiny") == first
    assert runs.newest_finished(workspace, "tiny", "instruct", "other") is None


def test_folders_that_are_no_runs_are_passed_over(workspace: Path) -> None:
    make(workspace, "a")
    make(workspace, "b").folder.rename(workspace / "runs" / ".b.removed")
    (workspace / "runs" / "notes").mkdir()
    (workspace / "runs" / "file").touch()
    assert list(rows(virc("runs", "ls").out)) == ["name", "a"]


def test_without_runs_it_says_what_begins_one(workspace: Path) -> None:
    done = virc("runs", "ls")
    assert (done.code, done.out) == (0, "")
    assert "virc train begins one" in done.err
    assert virc("runs", "ls", "--json").json == {"schema": "virc.runs.ls/1", "runs": [], "slurm": None, "error": None}


def test_path_prints_the_folder_of_a_run_or_checkpoint(workspace: Path) -> None:
    run = make(workspace, "a")
    folder = save(run, 50)
    save(run, 5)
    assert virc("runs", "path", "a").out == f"{run.folder}\n"
    assert virc("runs", "path", "a@50").out == f"{folder}\n"
    done = virc("runs", "path", "a@7")
    assert (done.code, done.out) == (3, "")
    assert done.err == "error: a has no checkpoint of step '7'\nhint: there are 5, 50\n"


def test_a_half_written_checkpoint_is_none(workspace: Path) -> None:
    folder = save(make(workspace, "a"), 50)
    (folder / "trainer_state.json").unlink()
    assert virc("runs", "path", "a@50").code == 3


@pytest.mark.parametrize("name", ["..", ".", "../a", "a/b", "\0", "x" * 5000, "", "tiny-instrukt"])
def test_what_names_no_run_is_one_sentence(name: str, workspace: Path) -> None:
    make(workspace, "tiny-instruct")
    (workspace / "run.json").write_text("{}")
    done = virc("runs", "path", name)
    assert (done.code, done.out) == (3, "")
    assert done.err.startswith("error: there is no run ")
    assert "tiny-instruct" in done.err


@pytest.mark.integration
@pytest.mark.parametrize("words", ["virc runs show ti", "virc runs rm other ti", "virc runs tail ti"])
def test_the_shell_completes_the_names_of_runs(words: str, workspace: Path) -> None:
    make(workspace, "tiny-instruct")
    make(workspace, "other")
    env = {
        **os.environ,
        "_VIRC_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split()) - 1),
    }
    done = subprocess.run([sys.executable, "-m", "virc_cli"], env=env, capture_output=True, text=True)
    assert done.stdout.split() == ["tiny-instruct"]


@pytest.mark.parametrize(
    ("progress", "queue", "said"),
    [
        ("running", None, "7"), ("finished", None, ""), ("new", {"phase": "over", "text": "job 7 failed"}, "7 failed"),
        ("running", {"phase": "over", "text": "job 7 failed"}, ""),
        ("running", {"phase": "waiting", "text": "job 7 waits"}, "7 waits"),
    ],
)  # fmt: skip
def test_a_job_is_shown_where_it_adds_something(progress: str, queue: object, said: str) -> None:
    assert ls._job({"job": "7", "progress": progress, "queue": queue}) == said
