"""`virc runs stop` ends a run, its engine too, and nothing else."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from support.called import virc
from support.made import make, running, save

from virc.core.processes import start_time
from virc.runs import run as runs
from virc.runs import stopping


@pytest.fixture
def engine() -> "Iterator[subprocess.Popen[bytes]]":
    """A process that leads a group and has a child that never ends by itself."""
    command = ["sh", "-c", "trap '' TERM; sleep 600 & echo $!; wait"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as process:
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def of_engine(process: "subprocess.Popen[bytes]") -> dict[str, Any]:
    return {"engine": process.pid, "engine_started": start_time(process.pid)}


@pytest.mark.parametrize("now", [[], ["--now"]])
@pytest.mark.parametrize(("progress", "says"), [("new", "not started"), ("finished", "finished"), ("failed", "full")])
def test_what_is_not_running_is_not_stopped(progress: str, says: str, now: list[str], workspace: Path) -> None:
    runs.write_state(make(workspace, "a"), progress=progress, error="the disk is full", attempt=1)
    done = virc("runs", "stop", "a", *now)
    assert (done.code, done.out) == (3, "")
    assert done.err.startswith("error: nothing to stop: ")
    assert says in done.err


def test_now_ends_the_attempt_and_all_its_engine_started(workspace: Path, engine: "subprocess.Popen[bytes]") -> None:
    assert engine.stdout is not None
    grandchild = int(engine.stdout.readline())
    run = make(workspace, "a")
    save(run, 3)
    with running(run) as holder:
        runs.write_state(run, step=5, **of_engine(engine))
        done = virc("runs", "stop", "a", "--now")
        assert (holder.wait(240), engine.wait(60)) == (-signal.SIGKILL, -signal.SIGKILL)
    assert done.out == "a was stopped at step 5; its newest checkpoint is of step 3, 2 steps before\n"
    assert runs.state(run).progress == "stopped"
    assert start_time(grandchild) is None


@pytest.mark.parametrize(
    ("step", "looks", "writes", "killed"),
    [
        (0, 8, False, True),  # it has made no step, and so nothing to save
        (7, 8, False, False),
        (7, 40, False, True),
        (7, 40, True, False),  # it writes a checkpoint all the time
    ],
)
def test_an_engine_that_saves_after_its_attempt_died_is_waited_for(
    step: int, looks: int, writes: bool, killed: bool, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, told = make(workspace, "a"), list[str | None]()
    state = runs.write_state(run, progress="stopped", step=step)
    clock = iter(range(0, 10_000, 5))
    lives = iter([*[True] * looks, *[False] * 9])
    seen = iter(map(str, range(1000))) if writes else iter(["same"] * 1000)
    monkeypatch.setattr(stopping.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(stopping.time, "sleep", lambda _: None)
    monkeypatch.setattr(stopping.runs, "engine_lives", lambda state: next(lives))
    monkeypatch.setattr(stopping, "written", lambda folders: next(seen))
    monkeypatch.setattr(stopping, "_end", lambda run, state, why: told.append(why))
    stopping.ask(run, state)
    assert [bool(each) for each in told] == [killed]


def test_processes_that_took_over_an_id_are_left_alone(workspace: Path, engine: "subprocess.Popen[bytes]") -> None:
    run = make(workspace, "a")
    other = of_engine(engine)
    with running(run):
        runs.write_state(run, engine=engine.pid, engine_started=other["engine_started"] - 1)
        assert virc("runs", "stop", "a", "--now").code == 0
    runs.write_state(
        run, progress="running", **{**runs.this_process(), "pid": engine.pid, "started": other["engine_started"] - 1}
    )
    assert virc("runs", "stop", "a").code == 3
    assert engine.poll() is None


@pytest.fixture
def stubborn() -> "Iterator[subprocess.Popen[str]]":
    """A process that says that it was asked to end, and goes on."""
    hold = (
        "import signal, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: print('asked', flush=True))\n"
        "print('ready', flush=True)\n"
        "while True: time.sleep(9)"
    )
    with subprocess.Popen([sys.executable, "-c", hold], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


@pytest.mark.integration
def test_ctrl_c_ends_the_waiting_only(workspace: Path, stubborn: "subprocess.Popen[str]") -> None:
    process = {**runs.this_process(), "pid": stubborn.pid, "started": start_time(stubborn.pid)}
    runs.write_state(make(workspace, "a"), progress="running", **process)
    command = [sys.executable, "-m", "virc_cli", "runs", "stop", "a"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as child:
        assert stubborn.stdout is not None
        assert stubborn.stdout.readline() == "asked\n"
        assert child.stderr is not None
        assert child.stderr.readline().startswith("asked a to save")
        child.send_signal(signal.SIGINT)
        assert "a has been asked to stop, and ends in the background" in child.stderr.read()
    assert child.returncode == 130
    assert stubborn.poll() is None


def test_a_run_is_asked_to_save_and_waited_for(workspace: Path) -> None:
    run = make(workspace, "a")
    with running(run, step=38) as holder:
        runs.write_state(run, step=37, total=100)
        save(run, 38)
        done = virc("runs", "stop", "a")
        assert holder.wait(240) == 0
    assert done.code == 0
    assert done.out == "a was stopped at step 38/100; its newest checkpoint is of step 38\n"
    assert done.err.startswith("asked a to save and end, at step 37/100\n")
    assert "virc train --resume --name a" in done.err
