"""What an attempt leaves of a run, and what the next goes on from; its engine is an object in this process."""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
from support.made import make
from support.reported import show_event
from test_rl_runs import save

from virc.core.errors import ConfigError, EngineError
from virc.core.events import Reporter
from virc.core.plan import Plan, Step
from virc.engines.verl import plan as verl
from virc.models.registry import EMBEDDED_FOLDER
from virc.reasoning.protocol import FILE_NAME
from virc.runs import attempts
from virc.runs import run as runs
from virc.runs.metrics import metrics
from virc.runs.run import Run
from virc.stages import rl
from virc.stages.context import Place
from virc.training import attempt as attempting
from virc.training.attempt import Ended, attempt

GONE = 2**22 + 1
"""The id of no process: Linux gives none above 2**22."""


class Engine:
    """Logs a step of RL at each look, and saves at every second one.

    Args:
        last: the step after which it ends with `code`.
        numbers: that it logs of each step; the reward of a step is a tenth of its number.

    Attributes:
        at: what is done at a look, by the step that was logged before.
        seen: the state of the run at each look.
        first: the step that it was to go on from.
    """

    pid = GONE

    def __init__(self, run: Run, last: int, code: int = 0, numbers: Mapping[str, float] = {}) -> None:
        self.run, self.last, self.code, self.numbers = run, last, code, numbers
        self.at: dict[int, Callable[[], object]] = {}
        self.asked = False
        self.seen: list[runs.State] = []
        self.first: int | None = None
        self.loadable: tuple[Path, Path] | None = None

    def plan(self, config: object, place: Place, *_: object) -> Plan:
        """The plan of an attempt, of which it notes the step to go on from."""
        self.first = int(place.resume.name.removeprefix("global_step_")) if place.resume else 0
        self.step = self.first
        return Plan(Step(("toy",), "train"), {}, loadable=self.loadable)

    def wait(self, seconds: float | None = None) -> int | None:
        """One more step."""
        self.seen.append(runs.state(self.run))
        self.at.pop(self.step, lambda: None)()
        if self.asked or self.step == self.last:
            return self.code
        self.step += 1
        if self.step % 2 == 0:
            save(self.run, self.step)
        measured = {
            "critic/score/mean": self.step / 10, "response_length/mean": 30.0, "actor/grad_norm": 1.0,
            "timing_s/step": 2.0, **self.numbers,
        }  # fmt: skip
        with (self.run.folder / "logs" / "verl.jsonl").open("a") as log:
            log.write(json.dumps({"step": self.step, "data": measured}) + "\n")
        return None

    def ask_to_save(self) -> None:
        """It ends at the next look, as verl does, which saves nothing then."""
        self.asked = True

    def end(self) -> None:
        """Nothing is left."""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run of RL of six steps."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.json").write_text("[]")
    made = make(
        tmp_path, "a", kind="rl", settings=msgspec.to_builtins(rl.Config(data="rows", steps=6)), origins={},
        base=str(EMBEDDED_FOLDER), data=str(tmp_path / "rows.json"), recipes=str(tmp_path),
    )  # fmt: skip
    (made.folder / FILE_NAME).write_bytes((EMBEDDED_FOLDER / FILE_NAME).read_bytes())
    return made


@pytest.fixture
def attempted(run: Run, monkeypatch: pytest.MonkeyPatch) -> Callable[[Engine], Ended]:
    """Makes an attempt at the run with an engine."""

    def made(engine: Engine) -> Ended:
        @contextmanager
        def started(step: Step, log: Path) -> Iterator[Engine]:
            log.parent.mkdir(parents=True, exist_ok=True)
            log.touch()
            yield engine

        monkeypatch.setattr(verl, "plan", engine.plan)
        monkeypatch.setattr("virc.training.attempt.processes.started", started)
        return attempt(run, Reporter(show_event))

    return made


def logged(run: Run) -> list[tuple[int, int]]:
    return [(each.step, each.attempt) for each in metrics(run)]


def shown(state: runs.State) -> tuple[object, ...]:
    return state.progress, state.attempt, state.step, state.reward, state.error


def test_a_resumed_run_is_at_its_checkpoint_until_it_goes_on(
    run: Run, attempted: Callable[[Engine], Ended], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(EngineError, match="verl failed: it ended before its last step") as failed:
        attempted(Engine(run, 5))
    assert failed.value.hint == f"see {run.log(1)}"
    assert shown(runs.state(run)) == ("failed", 1, 5, 0.5, failed.value.message)
    assert [each.error for each in attempts.attempts(run)] == [failed.value.message]
    spent = runs.state(run).seconds
    engine = Engine(run, 6)
    assert attempted(engine).finished
    assert engine.first == 4
    assert "resuming from step 4" in capsys.readouterr().err
    assert shown(engine.seen[0]) == ("running", 2, 4, 0.4, None)  # what was logged beyond it is dropped
    assert logged(run) == [(1, 1), (2, 1), (3, 1), (4, 1), (5, 2), (6, 2)]
    assert [(each.number, each.exit, each.saved) for each in attempts.attempts(run)] == [(1, 0, None), (2, 0, 6)]
    assert runs.state(run).seconds >= spent


def test_a_run_that_was_killed_goes_on_from_what_it_had_logged(run: Run, attempted: Callable[[Engine], Ended]) -> None:
    killed = Engine(run, 5)
    killed.step = 0
    run.attempt(1).mkdir(parents=True)
    line = {"step": 0, "data": {"val-core/drawn/reward/mean@1": 0.5}}
    (run.folder / "logs" / "verl.jsonl").write_text(json.dumps(line) + "\n")
    for _ in range(5):
        killed.wait()
    runs.write_state(
        run, progress="running", attempt=1, step=1, reward=0.1, pid=GONE, started=1, host=os.uname().nodename
    )
    (run.checkpoints / "global_step_4" / "actor" / "model_world_size_2_rank_0.pt").write_bytes(b"PK\3\4 half")
    engine = Engine(run, 6)
    attempted(engine)
    assert engine.first == 2
    assert shown(engine.seen[0]) == ("running", 2, 2, 0.2, None)
    assert logged(run) == [(0, 1), (1, 1), (2, 1), (3, 2), (4, 2), (5, 2), (6, 2)]


def test_two_engines_do_not_train_one_run(
    run: Run, attempted: Callable[[Engine], Ended], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """That of an attempt that was killed, and what Slurm started on a node that it cannot reach."""
    for name in ("_FORMER_ENGINE", "_FORMER_JOB", "_POLL"):
        monkeypatch.setattr(attempting, name, -1.0 if name != "_POLL" else 0.0)
    runs.write_state(run, progress="stopped", engine=77)
    with monkeypatch.context() as patch:
        patch.setattr(runs, "engine_lives", lambda _: True)
        with pytest.raises(
            ConfigError, match=r"engine of the previous attempt is still running \(process 77\)"
        ) as lives:
            attempted(Engine(run, 6))
    assert lives.value.hint == "virc runs stop a --now"
    assert "note: waiting for the engine of the previous attempt to save and end" in capsys.readouterr().err
    runs.write_state(run, progress="running", **runs.this_process())
    with pytest.raises(ConfigError, match=rf"^process {os.getpid()} on .* still trains a$"):
        attempt(run, Reporter(show_event), job="7")
    assert f"note: waiting for process {os.getpid()} on " in capsys.readouterr().err


def test_a_run_has_finished_once_its_last_step_is_saved(run: Run, attempted: Callable[[Engine], Ended]) -> None:
    engine = Engine(run, 6)
    assert attempted(engine) == Ended(finished=True, step=6)
    assert shown(engine.seen[0]) == ("running", 1, 0, None, None)
    state = runs.state(run)
    assert shown(state) == ("finished", 1, 6, 0.6, None)
    assert (state.pid, state.engine, state.total) == (None, None, 6)
    assert all((each / FILE_NAME).is_file() for each in run.checkpoints.glob("global_step_*"))
    (record,) = attempts.attempts(run)
    assert (record.exit, record.saved, record.error) == (0, 6, None)
    assert record.began
    assert record.ended
    with pytest.raises(ConfigError, match="the run a has finished"):
        attempted(Engine(run, 6))
    assert not run.attempt(2).exists()
