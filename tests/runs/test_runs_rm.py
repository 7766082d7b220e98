"""`virc runs rm` deletes runs, those that were named and no others."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from support.called import virc
from support.made import make, running, save

from virc.core.files import write_json
from virc.runs import delete
from virc.runs import run as runs


def left(workspace: Path) -> set[str]:
    return {path.name for path in (workspace / "runs").iterdir()}


def test_one_that_is_not_there_keeps_all(workspace: Path) -> None:
    make(workspace, "a")
    done = virc("runs", "rm", "a", "aa", "--yes")
    assert (done.code, left(workspace)) == (3, {"a"})
    assert "did you mean 'a'?" in done.err


def test_nobody_to_ask_needs_yes(workspace: Path) -> None:
    make(workspace, "a")
    done = virc("runs", "rm", "a")
    assert (done.code, left(workspace)) == (2, {"a"})
    assert "hint: --yes" in done.err


@pytest.mark.integration
@pytest.mark.parametrize(("answer", "kept"), [("y", set()), ("n", {"a"}), ("", {"a"}), ("\x04", {"a"})])
def test_on_a_terminal_it_asks(answer: str, kept: set[str], workspace: Path) -> None:
    make(workspace, "a")
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "virc_cli", "runs", "rm", "a"]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs) as child:
        os.close(theirs)
        shown = b""
        while b"[y/N]" not in shown:
            shown += os.read(ours, 1000)
        assert b"delete a, " in shown
        os.write(ours, answer.encode() + b"\n" * (answer != "\x04"))
        assert child.wait(240) == (1 if kept else 0)
    os.close(ours)
    assert left(workspace) == kept


def test_a_running_run_is_refused(workspace: Path) -> None:
    run = make(workspace, "a")
    make(workspace, "b")
    with running(run):
        done = virc("runs", "rm", "b", "a", "--yes")
        assert (done.code, left(workspace)) == (3, {"a", "b"})
    assert done.err == "error: a is running\nhint: virc runs stop a\n"


def test_a_run_that_others_started_from_is_refused(workspace: Path) -> None:
    first = make(workspace, "first")
    checkpoint = save(first, 9)
    make(workspace, "second", base=str(checkpoint))
    make(workspace, "third", adapter=str(workspace / "runs" / "second" / "x" / ".." / ".." / "first"))
    second = make(workspace, "first-2", base="\0")
    write_json(second.folder / "run.json", msgspec.structs.replace(runs.info(second), data=str(second.folder / "data")))
    assert delete.started_from(second, workspace) == []  # what it was trained on is in its own folder
    done = virc("runs", "rm", "first")
    assert (done.code, len(left(workspace))) == (3, 4)
    assert done.err.startswith("error: second, third started from first\nhint: --yes")
    assert "started from" not in virc("runs", "rm", "first-2").err
    assert "started from" not in virc("runs", "rm", "first", "second", "third").err
    assert virc("runs", "rm", "first", "--yes").code == 0
    assert left(workspace) == {"second", "third", "first-2"}


def test_links_are_taken_away_and_not_followed(workspace: Path) -> None:
    precious = workspace / "precious"
    precious.mkdir()
    (precious / "file").touch()
    run = make(workspace, "a")
    (run.folder / "link").symlink_to(precious)
    run.checkpoints.symlink_to(precious, target_is_directory=True)
    assert virc("runs", "rm", "a", "--yes").code == 0
    assert left(workspace) == set()
    assert (precious / "file").exists()


def test_of_a_run_that_is_a_link_the_link_goes(workspace: Path) -> None:
    run = make(workspace, "a")
    run.folder.rename(workspace / "moved")
    run.folder.symlink_to(workspace / "moved")
    assert virc("runs", "rm", "a", "--yes").code == 0
    assert left(workspace) == set()
    assert (workspace / "moved" / "run.json").exists()


def test_what_a_killed_removal_left_is_no_run_and_goes_with_the_next(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = make(workspace, "killed")
    make(workspace, "other")
    with monkeypatch.context() as patched:
        patched.setattr("shutil.rmtree", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
        assert virc("runs", "rm", "killed", "--yes").code == 130
    assert left(workspace) == {".killed.removed", "other"}
    assert virc("runs", "show", "killed").code == 3
    make(workspace, "killed")
    assert virc("runs", "rm", "other", "--yes").code == 0
    assert left(workspace) == {"killed"}
    assert killed.folder.is_dir()


def test_named_runs_are_deleted(workspace: Path) -> None:
    for name in ("a", "b", "c"):
        save(make(workspace, name, 3), 2)
    done = virc("runs", "rm", "a", "c", "--yes")
    assert (done.code, done.out, left(workspace)) == (0, "", {"b"})
    assert done.err.count("removed ") == 2
