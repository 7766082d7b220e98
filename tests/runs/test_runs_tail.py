"""`virc runs tail` follows a run to its end."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.called import virc
from support.made import add, make, metric, running, write_log

from virc.core.files import write_whole
from virc.runs import run as runs
from virc.runs.run import Run
from virc_cli.commands.runs import tail as tail_command

Event = Callable[[], object]


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[Event]:
    """What happens between looks at a run that is followed; one look more than it has fails."""
    given: list[Event] = []
    monkeypatch.setattr(tail_command, "time", SimpleNamespace(sleep=lambda _: given.pop(0)()))
    return given


def run_here(run: Run, **changes: object) -> None:
    """This process is the run's attempt."""
    runs.write_state(run, **{"progress": "running", **runs.this_process(), "attempt": 1, "total": 100, **changes})


def stop(run: Run, **changes: object) -> None:
    runs.write_state(run, progress="stopped", **changes)


def shown_steps(out: str) -> list[int]:
    return [int(line.split()[1].removesuffix("/100")) for line in out.splitlines()]


def test_steps_come_until_the_run_ends(workspace: Path, events: list[Event]) -> None:
    run = make(workspace, "a")
    add(run, metric(1), metric(2))
    run_here(run)
    events += [partial(add, run, metric(3)), lambda: (add(run, metric(4)), stop(run, step=4))]
    done = virc("runs", "tail", "a")
    assert (done.code, shown_steps(done.out)) == (0, [1, 2, 3, 4])
    assert done.out.endswith("step 4/100  loss 0.25  lr 5e-6  4.1k tok/s  3 min left\n")
    assert done.err == "a was stopped at step 4/100\nvirc train --resume --name a resumes it\n"


def test_all_lines_that_come_at_once_are_shown(workspace: Path, events: list[Event]) -> None:
    run = make(workspace, "a")
    add(run, metric(1))
    run_here(run)
    events += [lambda: (add(run, *(metric(step) for step in range(2, 40))), stop(run))]
    assert shown_steps(virc("runs", "tail", "a").out) == list(range(1, 40))


@pytest.mark.parametrize("kept", [5, 8])
def test_a_resumed_run_repeats_no_line(kept: int, workspace: Path, events: list[Event]) -> None:
    run = make(workspace, "a")
    add(run, *(metric(step) for step in range(1, 9)))
    run_here(run)

    def resume() -> None:
        write_whole(run.metrics, b"".join(run.metrics.read_bytes().splitlines(keepends=True)[:kept]))
        add(run, metric(kept + 1, attempt=2), metric(kept + 2, attempt=2))

    events += [resume, partial(stop, run)]
    assert shown_steps(virc("runs", "tail", "a").out) == [*range(1, 9), kept + 1, kept + 2]


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


def test_the_newest_running_run_is_the_default(workspace: Path, events: list[Event]) -> None:
    first = make(workspace, "first", created="2026-01-01T00:00:00+00:00")
    second = make(workspace, "second", created="2026-01-02T00:00:00+00:00")
    make(workspace, "third", 3)
    (make(workspace, "broken").folder / "run.json").write_text("")
    for run in (first, second):
        run_here(run)
    events += [partial(stop, second), partial(stop, first)]
    assert virc("runs", "tail").err.startswith("second was stopped")


def test_without_a_running_run_a_name_is_asked_for(workspace: Path) -> None:
    make(workspace, "done", 3)
    done = virc("runs", "tail")
    assert (done.code, done.out) == (3, "")
    assert (
        done.err == "error: no run of this workspace is running\nhint: virc runs tail done shows how the newest ended\n"
    )


def test_a_run_that_has_not_begun_is_waited_for(workspace: Path, events: list[Event]) -> None:
    run = make(workspace, "a")
    events += [lambda: (run_here(run), add(run, metric(1))), partial(stop, run)]
    done = virc("runs", "tail", "a")
    assert done.err.startswith("a has not started; waiting for it\n")
    assert shown_steps(done.out) == [1]


@pytest.mark.parametrize(("progress", "code"), [("finished", 0), ("stopped", 0), ("failed", 7)])
def test_the_exit_code_is_that_of_the_run(progress: str, code: int, workspace: Path) -> None:
    run = make(workspace, "a", 3)
    runs.write_state(run, progress=progress, error="the disk is full" if code else None)
    done = virc("runs", "tail", "a")
    assert done.code == code
    assert ("the disk is full" in done.err) == (code == 7)
    assert (str(run.log(1)) in done.err) == (code == 7)


def test_a_killed_run_ends_the_following(workspace: Path, events: list[Event]) -> None:
    run = make(workspace, "a")
    run_here(run)
    events += [partial(runs.write_state, run, started=1)]  # another process has its id by now
    done = virc("runs", "tail", "a")
    assert (done.code, done.err.split(":")[1]) == (7, " a died at step 0/100")


@pytest.mark.integration
def test_ctrl_c_ends_the_following_only(workspace: Path) -> None:
    run = make(workspace, "a")
    add(run, metric(1))
    command = [sys.executable, "-m", "virc_cli", "runs", "tail", "a"]
    pipe = subprocess.PIPE
    with running(run), subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline().startswith("step 1/100")
        child.send_signal(signal.SIGINT)
        assert child.communicate(timeout=240) == ("", "error: interrupted\n")
        assert child.returncode == 130
        assert runs.state(run).progress == "running"


def test_a_run_that_is_removed_ends_the_following(workspace: Path, events: list[Event]) -> None:
    run = make(workspace, "a")
    run_here(run)
    events += [lambda: run.folder.rename(workspace / "elsewhere")]
    done = virc("runs", "tail", "a")
    assert (done.code, done.err) == (3, "error: a has been removed\n")


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


def test_the_log_of_the_next_attempt_follows(workspace: Path, events: list[Event]) -> None:
    run = make(workspace, "a")
    write_log(run, 1, "first")
    run_here(run)
    events += [lambda: (write_log(run, 2, "second"), run_here(run, attempt=2)), partial(stop, run)]
    assert virc("runs", "tail", "a", "--log").out == "first\nsecond\n"


def test_the_log_is_no_json(workspace: Path) -> None:
    assert virc("runs", "tail", "--log", "--json").code == 2
