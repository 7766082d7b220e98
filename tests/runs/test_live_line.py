"""The line that shows how far a command is, on terminals of several widths."""

import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from support.made import make
from support.terminal import rest_of

from virc.core.errors import EngineError
from virc.runs import run as runs
from virc.training.follow import StepEvent
from virc_cli.commands import train
from virc_cli.commands.train import sparkline

_SHOW = """
import sys, time
from virc_cli.console import events
with events.shown() as show:
    for length in (30, 300):
        time.sleep(0.15)
        show("x" * length)
"""


@pytest.mark.parametrize("columns", [40, 100])
def test_a_line_never_reaches_the_end_of_the_terminal(columns: int) -> None:
    """It would wrap, and the next one would stand below it."""
    controller, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    subprocess.run([sys.executable, "-c", _SHOW], stderr=terminal, check=True)
    os.close(terminal)
    said = rest_of(controller)
    assert "\n" not in said
    assert [len(line) for line in said.split("\r")] == [30, columns - 1, columns - 1, 0]


_TOLD = """
import time
from virc_cli.console import events, output
with events.shown() as show:
    time.sleep(0.15)
    show("x" * 30)
    output.note("stopping")
    output.note("stopped")
"""


def test_what_is_told_meanwhile_leaves_nothing_of_the_line() -> None:
    controller, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    subprocess.run([sys.executable, "-c", _TOLD], stderr=terminal, check=True)
    os.close(terminal)
    said = rest_of(controller)
    assert said.split("\r\n")[:2] == ["x" * 30 + "\r" + " " * 30 + "\rstopping", "stopped"]


def test_the_newest_losses_are_drawn_where_there_is_room_for_few() -> None:
    falling = [float(each) for each in range(100, 0, -1)]
    assert [len(sparkline(falling, room)) for room in (-3, 0, 1, 5, 40)] == [0, 0, 0, 5, 40]
    assert sparkline([*falling, 500.0], 5)[-1] == "█"
    assert sparkline([0.0] * 40 + [1.0] * 40, 8) == "▁▁▁▁████"  # of all of them, not of the last eight
    assert sparkline(range(8), 8) == "▁▂▃▄▅▆▇█"
    assert (train.signs("gr"), train.signs("x")) == (["gradient"], [])


@pytest.mark.parametrize(("room", "bars"), [(200, 40), (30, 20), (9, 0)])
def test_losses_are_drawn_behind_the_text_as_far_as_there_is_room(
    room: int, bars: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train.events, "room", lambda: room)
    shown = train._with_history(StepEvent("progress", "step 9/9", history=range(100))).text
    assert (shown[:10], len(shown)) == ("step 9/9  ", 10 + bars)


def test_what_became_of_a_run_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(step: object) -> None:
        raise EngineError("no room", "make room")

    here, queued = make(tmp_path, "a"), make(tmp_path, "b", launcher="slurm")
    for no_submit, place in ((True, queued.folder / "slurm.sh"), (False, queued.folder)):
        train._print(queued, no_submit, as_json=False)
        assert capsys.readouterr().out == f"{place}\n"
    runs.write_state(here, progress="stopped", step=3)
    train._print(here, no_submit=True, as_json=True)
    shown = json.loads(capsys.readouterr().out)
    assert [shown[key] for key in ("run", "progress", "step", "job")] == [str(here.folder), "stopped", 3, None]
    runs.write_state(here, job="7")  # it is in the queue again
    train._print(here, no_submit=False, as_json=False)
    monkeypatch.setattr("virc.core.processes.output", fails)
    train._plot(here)
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "warning: no room\nhint: make room\n")
