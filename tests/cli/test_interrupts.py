"""Ctrl-C at any moment: quiet, with exit code 130, while commands are imported and after they have ended, too."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from support.called import virc
from support.solving import ROOT

from virc.core import processes
from virc.core.interpreter import interrupts_deferred
from virc.core.plan import Step
from virc_cli import main as entry
from virc_cli.console.interrupts import leave

PYTHONPATH = os.pathsep.join((str(ROOT), str(ROOT / "recipes")))


def run(program: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": PYTHONPATH}
    return subprocess.run([sys.executable, "-c", program, ""], env=env, capture_output=True, text=True, timeout=240)


@pytest.mark.parametrize(
    "program",
    [
        "import signal, virc_cli.entry; signal.raise_signal(2)",
        "import signal, sys, virc_cli.entry as v\nsys.argv[1] = '--version'\nv.main()\nsignal.raise_signal(2)",
    ],
    ids=["before the commands are imported", "when the command has ended"],
)
def test_an_interrupt_outside_of_a_command_leaves_no_traceback(program: str) -> None:
    done = run(program)
    assert (done.returncode, done.stderr) == (130, "error: interrupted\n")


def test_a_second_sigterm_ends_the_process_and_a_second_ctrl_c_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    found = list[object]()

    def work(*_: object) -> int:
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            found.append(signal.getsignal(signal.SIGTERM))

    def told(*_: object) -> int:
        found.append(signal.getsignal(signal.SIGINT))
        return 143

    monkeypatch.setattr(entry, "_run", work)
    monkeypatch.setattr(entry, "_report", told)
    before, hook = signal.getsignal(signal.SIGTERM), sys.unraisablehook
    virc("solve")
    assert found == [signal.SIG_DFL, leave]
    assert (signal.getsignal(signal.SIGTERM), sys.unraisablehook) == (before, hook)


def test_an_interrupt_waits_for_the_end_of_a_block_that_defers_it() -> None:
    done = []

    def work() -> None:
        with interrupts_deferred():
            signal.raise_signal(signal.SIGINT)
            done.append("the rest")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["the rest"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_interrupt_while_a_process_is_started_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python drops what a callback of `os.register_at_fork` raises, such as that of logging."""

    def start(*_: object, **__: object) -> None:
        with suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(subprocess, "Popen", start)
    with pytest.raises(KeyboardInterrupt):
        processes.output(Step(argv=("true",), says="start"))


@pytest.mark.integration
@pytest.mark.parametrize(
    "words",
    [["--help"], ["solve", "{picture}", "What is m∠B in triangle MBH?"], ["batch", "{picture}", "q"]],
    ids=["help", "solve", "batch"],
)
def test_an_interrupt_at_any_moment_leaves_no_traceback(words: list[str], tmp_path: Path) -> None:
    """Each 50 ms of a second; before our first line runs, which `started` says, it is Python's."""
    picture, started = ROOT / "tests" / "pictures" / "triangle.png", tmp_path / "started"
    line = [word.format(picture=picture) for word in words]
    program = (
        "import sys, virc_cli.entry as entry\n"
        f"open({str(started)!r}, 'w').close()\nsys.argv[1:] = {line!r}\nsys.exit(entry.main())"
    )
    env = {**os.environ, "PYTHONPATH": PYTHONPATH, "OMP_NUM_THREADS": "1", "VIRC_CONFIG": str(tmp_path / "none")}
    for step in range(20):
        started.unlink(missing_ok=True)
        process = subprocess.Popen([sys.executable, "-c", program], env=env, stdout=-1, stderr=-1)
        while not started.exists():
            time.sleep(0.001)
        time.sleep(step * 0.05)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=240)
        assert b"Traceback" not in err, (step, err)
        assert b"Exception ignored" not in err, (step, err)
        assert process.returncode in (0, 130, -signal.SIGINT), step  # the last: in the end of Python, which is quiet
