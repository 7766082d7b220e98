"""The line that shows how far a command is, on terminals of several widths."""

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios

import pytest
from support.terminal import rest_of

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
