"""`virc runs tail` follows a run to its end."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.called import virc
from support.made import add, make, metric, running, write_log

from virc.core.files import write_whole
from virc.runs import run as runs
from virc.runs.run import Run

follows = pytest.mark.integration  # a run that goes on, and a process that follows it

Child = subprocess.Popen[str]


@contextmanager
def tailing(*words: str) -> Iterator[Child]:
    """The command in a process of its own."""
    command = [sys.executable, "-m", "virc_cli", "runs", "tail", *words]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as child:
        try:
            yield child
        finally:
            child.kill()


def steps(child: Child, count: int) -> list[str]:
    """The steps of the next lines, waiting for them."""
    assert child.stdout is not None
    return [child.stdout.readline().split()[1] for _ in range(count)]


def end(child: Child) -> tuple[int, str, str]:
    out, err = child.communicate(timeout=240)
    return child.returncode, out, err


@follows
def test_steps_come_until_the_run_ends(workspace: Path) -> None:
    run = make(workspace, "a")
    add(run, metric(1), metric(2))
    with running(run, step=4, total=100) as holder, tailing("a") as child:
        assert steps(child, 2) == ["1/100", "2/100"]
        add(run, metric(3))
        assert steps(child, 1) == ["3/100"]
        add(run, metric(4))
        holder.terminate()
        code, out, err = end(child)
    assert (code, out) == (0, "step 4/100  loss 0.25  lr 5e-6  4.1k tok/s  3 min left\n")
    assert err == "a was stopped at step 4/100\nvirc train --resume --name a resumes it\n"


@follows
def test_a_resumed_run_repeats_no_line(workspace: Path) -> None:
    run = make(workspace, "a")
    add(run, *(metric(step) for step in range(1, 9)))
    with running(run) as holder, tailing("a") as child:
        assert steps(child, 8)[-1] == "8/100"
        kept = run.metrics.read_bytes().splitlines(keepends=True)[:5]
        write_whole(run.metrics, b"".join(kept))
        add(run, metric(6, attempt=2), metric(7, attempt=2))
        assert steps(child, 2) == ["6/100", "7/100"]
        holder.terminate()
        assert end(child)[:2] == (0, "")


def test_the_time_left_is_by_the_pace_of_the_newest_attempt(workspace: Path) -> None:
    run = make(workspace, "a")
    add(run, metric(4), metric(5), metric(6, attempt=2, seconds=10.0), metric(7, attempt=2, seconds=70.0))
    runs.write_state(run, progress="stopped", attempt=2, step=7, total=100)
    assert virc("runs", "tail", "a").out.endswith("  1 h 33 min left\n")


def test_only_the_last_lines_of_before_are_shown(workspace: Path) -> None:
    make(workspace, "a", 100)
    done = virc("runs", "tail", "a")
    assert [line.split()[1] for line in done.out.splitlines()] == [f"{step}/100" for step in range(81, 101)]
    assert (done.code, done.err) == (0, "a finished at step 100/100\n")


def test_json_gives_every_line(workspace: Path) -> None:
    run = make(workspace, "a", 100)
    with run.metrics.open("a") as file:
        file.write('{"step": 101, "loss": NaN}\nno metric\n{"step": 102}\n{"step": 103')
    lines = virc("runs", "tail", "a", "--json").lines
    assert [line["step"] for line in lines] == list(range(1, 103))
    assert lines[0] == json.loads(run.metrics.read_text().splitlines()[0])
    assert lines[100] == {"step": 101, "loss": None}


@follows
def test_the_newest_running_run_is_the_default(workspace: Path) -> None:
    first = make(workspace, "first", created="2026-01-01T00:00:00+00:00")
    second = make(workspace, "second", created="2026-01-02T00:00:00+00:00")
    make(workspace, "third", 3)
    (make(workspace, "broken").folder / "run.json").write_text("")
    add(second, metric(7))
    with running(first), running(second), tailing() as child:
        assert steps(child, 1) == ["7/100"]


def test_without_a_running_run_a_name_is_asked_for(workspace: Path) -> None:
    make(workspace, "done", 3)
    done = virc("runs", "tail")
    assert (done.code, done.out) == (3, "")
    assert (
        done.err == "error: no run of this workspace is running\nhint: virc runs tail done shows how the newest ended\n"
    )


@follows
def test_a_run_that_has_not_begun_is_waited_for(workspace: Path) -> None:
    run = make(workspace, "a")
    with tailing("a") as child:
        assert child.stderr is not None
        assert child.stderr.readline() == "a has not started; waiting for it\n"
        with running(run):
            add(run, metric(1))
            assert steps(child, 1) == ["1/100"]


@pytest.mark.parametrize(("progress", "code"), [("finished", 0), ("stopped", 0), ("failed", 7)])
def test_the_exit_code_is_that_of_the_run(progress: str, code: int, workspace: Path) -> None:
    run = make(workspace, "a", 3)
    runs.write_state(run, progress=progress, error="the disk is full" if code else None)
    done = virc("runs", "tail", "a")
    assert done.code == code
    assert ("the disk is full" in done.err) == (code == 7)
    assert (str(run.log(1)) in done.err) == (code == 7)


@follows
def test_a_killed_run_ends_the_following(workspace: Path) -> None:
    run = make(workspace, "a")
    add(run, metric(1))
    with running(run) as holder, tailing("a") as child:
        assert steps(child, 1) == ["1/100"]
        holder.kill()
        holder.wait()
        code, _, err = end(child)
    assert (code, err.split(":")[1]) == (7, " a died at step 0")


@follows
def test_ctrl_c_ends_the_following_only(workspace: Path) -> None:
    run = make(workspace, "a")
    add(run, metric(1))
    with running(run), tailing("a") as child:
        assert steps(child, 1) == ["1/100"]
        child.send_signal(signal.SIGINT)
        assert end(child) == (130, "", "error: interrupted\n")
        assert runs.state(run).progress == "running"


@follows
def test_a_run_that_is_removed_ends_the_following(workspace: Path) -> None:
    run = make(workspace, "a")
    add(run, metric(1))
    with running(run), tailing("a") as child:
        assert steps(child, 1) == ["1/100"]
        run.folder.rename(workspace / "elsewhere")
        assert end(child) == (3, "", "error: a has been removed\n")


def log_lines(run: Run, *texts: str) -> list[str]:
    for text in texts:
        write_log(run, 1, text)
    return virc("runs", "tail", "a", "--log").out.splitlines()


def test_the_log_comes_without_colours_and_drawn_over_bars(workspace: Path) -> None:
    run = make(workspace, "a", 1)
    shown = log_lines(run, "\x1b[31;1mred\x1b[0m", "\r 5%|#\r 10%|##", "", "é".encode("latin-1").decode("latin-1"))
    assert shown == ["loading the model", "red", " 10%|##", "é"]


def test_only_the_last_lines_of_a_log_are_shown(workspace: Path) -> None:
    shown = log_lines(make(workspace, "a", 1), *(f"line {number}" for number in range(100)))
    assert shown == [f"line {number}" for number in range(80, 100)]


@follows
def test_the_log_of_the_next_attempt_follows(workspace: Path) -> None:
    run = make(workspace, "a")
    write_log(run, 1, "first")
    with running(run) as holder, tailing("a", "--log") as child:
        runs.write_state(run, attempt=1)
        assert child.stdout is not None
        assert child.stdout.readline() == "first\n"
        write_log(run, 2, "second")
        runs.write_state(run, attempt=2)
        assert child.stdout.readline() == "second\n"
        holder.terminate()
        assert end(child)[:2] == (0, "")


def test_the_log_is_no_json(workspace: Path) -> None:
    assert virc("runs", "tail", "--log", "--json").code == 2
