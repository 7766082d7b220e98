"""Attempts at a run of RL, with a process that logs and saves as verl does: stopped, resumed, ended for its health."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.made import make
from support.reported import show_event

from virc.core.errors import EngineError
from virc.core.events import Event, Reporter
from virc.core.plan import Plan, Step
from virc.engines.verl import plan as verl
from virc.models.registry import EMBEDDED_FOLDER
from virc.reasoning.protocol import FILE_NAME
from virc.runs import leftovers
from virc.runs import run as runs
from virc.runs.metrics import metrics
from virc.runs.run import Run
from virc.stages import rl
from virc.stages.context import Place
from virc.training.api import RunEvent, train
from virc.training.attempt import attempt
from virc.training.follow import StepEvent

HERE = Path(__file__).parent
Begin = Callable[..., Run]


@pytest.fixture
def begin(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Begin:
    """Makes a run whose engine is the toy."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(HERE), str(HERE.parent), *sys.path]))

    def begun(correlation: float = 1.0, last: int = 6, **settings: Any) -> Run:
        def plan(config: object, place: Place, *_: object) -> Plan:
            first = int(place.resume.name.removeprefix("global_step_")) + 1 if place.resume else 1
            words = (str(place.output.parent), *map(str, (first, last, 2, correlation)))
            return Plan(Step((sys.executable, str(HERE / "toy_verl.py"), *words), "train"), {})

        monkeypatch.setattr(verl, "plan", plan)
        rows = workspace / "rows.json"
        rows.write_text("[]")
        given = msgspec.to_builtins(rl.Config(data="rows", steps=6, device="cpu", devices=1)) | settings
        made = make(
            workspace, "a", kind="rl", settings=given, origins={}, base=str(EMBEDDED_FOLDER), data=str(rows),
            recipes=str(HERE),
        )  # fmt: skip
        (made.folder / FILE_NAME).write_bytes((EMBEDDED_FOLDER / FILE_NAME).read_bytes())
        return made

    return begun


def signals_at(run: Run, step: int, number: signal.Signals) -> "subprocess.Popen[bytes]":
    """A process that sends this one a signal once the run has logged a step."""
    code = (
        "import os, sys, time\n"
        "while sys.argv[1] not in (open(sys.argv[2]).read() if os.path.exists(sys.argv[2]) else ''): time.sleep(.05)\n"
        f"os.kill({os.getpid()}, {int(number)})\n"
    )
    return subprocess.Popen([sys.executable, "-c", code, f'"step":{step},', str(run.metrics)])


def logged(run: Run) -> list[tuple[int, int]]:
    return [(each.step, each.attempt) for each in metrics(run)]


@pytest.mark.integration
def test_asked_to_end_it_says_what_is_saved_and_lost_and_goes_on_from_there(
    begin: Begin, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TOY_SLOW", "4:600")  # it is there still when the signal comes
    run = begin()
    with signals_at(run, 3, signal.SIGINT), pytest.raises(KeyboardInterrupt):
        train(name=run.name, resume=True, on_progress=show_event)
    said = capsys.readouterr().err
    assert "stopping; verl saves nothing when it is asked to end" in said
    assert "stopped, saved at step 2, 1 step" in said
    assert "virc train --resume --name a resumes it" in said
    assert runs.state(run).progress == "stopped"
    assert leftovers.processes(run) == []
    monkeypatch.delenv("TOY_SLOW")
    ended = attempt(run, Reporter())
    assert (ended.finished, ended.step) == (True, 6)
    assert logged(run) == [(each, 1 if each <= 2 else 2) for each in range(1, 7)]


@pytest.mark.integration
def test_a_checkpoint_that_was_cut_short_is_not_gone_on_from(begin: Begin) -> None:
    run = begin(last=4)
    with pytest.raises(EngineError, match="verl failed: it ended before its last step"):
        attempt(run, Reporter())
    (run.checkpoints / "global_step_4" / "actor" / "model_world_size_2_rank_0.pt").write_bytes(b"PK\3\4 half")
    with pytest.raises(EngineError):
        attempt(run, Reporter())
    assert logged(run) == [(1, 1), (2, 1), (3, 2), (4, 2)]


@pytest.mark.integration
def test_a_sign_of_stop_on_ends_the_run_and_says_why(
    begin: Begin, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TOY_SLOW", "6:600")
    run = begin(correlation=0.5, stop_on=["correlation"])
    with pytest.raises(
        EngineError, match=r"stopped: the rollout engine's probabilities .*; saved at step \d+"
    ) as caught:
        train(name=run.name, resume=True, on_progress=show_event)
    assert caught.value.hint == "virc runs diagnose a says why; virc train --resume --name a resumes it"
    state = runs.state(run)
    assert state.progress == "stopped"
    assert state.step < 6
    assert "correlate" in (state.error or "")
    assert "warning: correlation: " in capsys.readouterr().err
    assert leftovers.processes(run) == []


@pytest.mark.integration
def test_a_python_caller_gets_the_run_and_each_step(begin: Begin) -> None:
    run, events = begin(), list[Event]()
    assert train(name=run.name, resume=True, on_progress=events.append) == run
    assert runs.state(run).progress == "finished"
    assert [event.run for event in events if isinstance(event, RunEvent)] == [run]
    assert [event.metric.step for event in events if isinstance(event, StepEvent)][-1] == 6
    assert "log" in {event.kind for event in events}
