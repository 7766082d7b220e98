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
from support.made import add, make, metric, running

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


def test_json_gives_every_line(workspace: Path) -> None:
    run = make(workspace, "a", 100)
    with run.metrics.open("a") as file:
        file.write('{"step": 101, "loss": NaN}\nno metric\n{"step": 102}\n{"step": 103')
    lines = virc("runs", "tail", "a", "--json").lines
    assert [line["step"] for line in lines] == list(range(1, 103))
    assert lines[0] == json.loads(run.metrics.read_text().splitlines()[0])
    assert lines[100] == {"step": 101, "loss": None}


@pytest.mark.parametrize(("progress", "code"), [("finished", 0), ("stopped", 0), ("failed", 7)])
def test_the_exit_code_is_that_of_the_run(progress: str, code: int, workspace: Path) -> None:
    run = make(workspace, "a", 3)
    runs.write_state(run, progress=progress, error="the disk is full" if code else None)
    done = virc("runs", "tail", "a")
    assert done.code == code
    assert ("the disk is full" in done.err) == (code == 7)
    assert (str(run.log(1)) in done.err) == (code == 7)


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


def test_steps_come_until_the_run_ends(workspace: Path, events: list[Event]) -> None:
    run = make(workspace, "a")
    add(run, metric(1), metric(2))
    run_here(run)
    events += [partial(add, run, metric(3)), lambda: (add(run, metric(4)), stop(run, step=4))]
    done = virc("runs", "tail", "a")
    assert (done.code, shown_steps(done.out)) == (0, [1, 2, 3, 4])
    assert done.out.endswith("step 4/100  loss 0.25  lr 5e-6  4.1k tok/s  3 min left\n")
    assert done.err == "a was stopped at step 4/100\nvirc train --resume --name a resumes it\n"
