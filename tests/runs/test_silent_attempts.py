"""Attempts whose engine is stopped, or slow, with a process that logs and saves as verl does."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.called import virc
from test_rl_attempts import Begin, begin, logged

from virc.core import processes
from virc.core.events import Reporter
from virc.core.plan import Plan, Step
from virc.engines.verl import plan as verl
from virc.runs import leftovers
from virc.runs import run as runs
from virc.runs.run import Run
from virc.training import attempt as attempts
from virc.training import silence

__all__ = ["begin"]


@pytest.mark.integration
def test_a_stopped_engine_is_ended_and_its_run_resumes(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "_ENDS", 1.0)
    monkeypatch.setenv("TOY_STOPS", "4")
    run = begin()
    monkeypatch.setattr(silence.Silence, "limit", lambda *_: 2.0 if is_stopped(run) else 600.0)
    done = virc("train", "--resume", "--name", run.name)
    assert done.code == 7
    error, hint = done.err.strip().splitlines()[-2:]
    assert error.startswith("error: verl has written no metrics, log line or checkpoint for ")
    assert re.search(r"; the longest step so far took \d+ s: it was ended$", error)
    assert hint == "hint: virc train --resume --name a resumes it from step 2; VIRC_SILENT_MINUTES=0 waits without end"
    assert runs.state(run).progress == "failed"
    assert leftovers.processes(run) == []
    monkeypatch.delenv("TOY_STOPS")
    assert virc("train", "--resume", "--name", run.name).code == 0
    assert logged(run) == [(1, 1), (2, 1), *((step, 2) for step in range(3, 7))]


def is_stopped(run: Run) -> bool:
    """Whether its engine was stopped."""
    stat = Path(f"/proc/{runs.state(run).engine}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "T"


@pytest.mark.integration
@pytest.mark.parametrize(("minutes", "code"), [("0", 0), ("0.03", 7)])
def test_the_variable_sets_the_limit_or_none(
    begin: Begin, monkeypatch: pytest.MonkeyPatch, minutes: str, code: int
) -> None:
    monkeypatch.setattr(silence, "FLOOR", 1.0)
    monkeypatch.setattr(attempts, "_ENDS", 0.5)
    monkeypatch.setenv("TOY_SLOW", "4:6")
    monkeypatch.setenv(silence.LIMIT, minutes)
    assert virc("train", "--resume", "--name", begin().name).code == code


DEAF = "trap '' TERM INT; echo ready; sleep 600; sleep 600"


@pytest.mark.integration
@pytest.mark.parametrize(
    ("words", "through"),
    [
        (("sh", "-c", DEAF), False),
        (("sh", "-c", f'trap "" TERM; setsid sh -c "{DEAF}"; sleep 600'), False),
        (("sh", "-c", f'trap "" TERM; sh -c "{DEAF}" & wait'), True),
        ((sys.executable, "-c", "import time; print('ready', flush=True); time.sleep(600)"), True),
    ],
    ids=["deaf", "a session of its own", "deaf workers", "no workers yet"],
)
def test_an_engine_that_starts_is_ended_within_30_seconds(
    words: tuple[str, ...], through: bool, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = begin()
    monkeypatch.setattr(verl, "plan", lambda *_: Plan(Step(words, "train", through=through), {}))
    code = (
        "import os, sys, time\n"
        "while 'ready\\n' not in (open(sys.argv[1]).read() if os.path.exists(sys.argv[1]) else ''): time.sleep(.05)\n"
        f"os.kill({os.getpid()}, {int(signal.SIGTERM)})\n"
    )
    assert attempts._ENDS + 2 * processes._GRACE <= 30  # what is waited for, which takes a moment here
    monkeypatch.setattr(attempts, "_ENDS", 0.5)
    monkeypatch.setattr(processes, "_GRACE", 0.5)
    with subprocess.Popen([sys.executable, "-c", code, str(run.log(1))]):
        ended = attempts.attempt(run, Reporter())
    assert (ended.finished, ended.signal) == (False, signal.SIGTERM)
    assert leftovers.processes(run) == []
