"""`virc train --rounds`: the commands of the steps, how far each is, and what is refused before anything starts."""

import json
import shlex
from pathlib import Path

import msgspec
import pytest
from extras.rounds import rounds_plan
from support import made
from support.called import virc

from virc.core import locks
from virc.core.errors import ConfigError
from virc.core.events import Reporter
from virc.runs import run as runs
from virc_extras.rounds import plan as planning
from virc_extras.rounds import run as running
from virc_extras.rounds import steps
from virc_extras.rounds.plan import RoundCommand, Rounds, RoundsRequest
from virc_extras.rounds.run import states


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "mine.yaml").write_text(rounds_plan.YAML)
    for name in ("rows.jsonl", "problems.jsonl"):
        (folder / name).write_text('{"id": 1}\n{"id": 2}\n')
    monkeypatch.chdir(folder)
    monkeypatch.delenv("VIRC_PATH", raising=False)
    return folder


def of_tiny(workspace: Path, count: int = 2, *settings: str) -> Rounds:
    rows = Path("problems.jsonl")
    request = RoundsRequest(
        system="tiny", rounds=count, base="tiny", data=rows, assignments=settings, workspace=workspace
    )
    return planning.plan(request)


class Recorder:
    """Stands in for the process of a command: makes what the command would make, and keeps its words."""

    def __init__(self, found: Rounds) -> None:
        self.found, self.typed, self.fails_at = found, list[str](), -1

    def __call__(self, words: tuple[str, ...], folder: Path) -> int:
        self.typed.append(shlex.join(words))
        if len(self.typed) - 1 == self.fails_at:
            return 8
        step = next(each for each in self.found.steps if each.makes.split("/")[-1] in shlex.join(words[2:]))
        step = next((each for each in self.found.steps if each.words == words), step)
        (sampled if step.kind == "sample" else trained)(step, folder)
        return 0


def sampled(step: RoundCommand, folder: Path, problems: int = 2) -> None:
    """Rows, as sampling leaves them."""
    place = folder / step.makes
    place.mkdir(parents=True, exist_ok=True)
    row = {"images": []}
    settings = {"n": 8, "keep": 2, "temperature": 1.0, "seed": step.round}
    line = {"schema": "virc.sampled/1", "row": "x", "error": None, "model": f"{step.start}@7", "settings": settings}
    lines = [{**line, "id": n, "line": n, "rollouts": 8, "right": 6, "kept": [row]} for n in range(1, problems + 1)]
    (place / "trajectories.progress").write_text("".join(json.dumps(each) + "\n" for each in lines))
    (place / "trajectories.jsonl").write_text(problems * (json.dumps(row) + "\n"))


def trained(step: RoundCommand, folder: Path) -> None:
    """A run that has finished."""
    assert step.resolved
    settings = msgspec.to_builtins(step.resolved.config)
    name = Path(step.makes).name
    if not (folder / step.makes).exists():
        made.make(folder, name, stage=step.name, settings=settings)
    runs.write_state(runs.Run(folder / step.makes), progress="finished", step=3, total=3, loss=0.25)


def test_a_dry_run_prints_the_commands_and_writes_nothing(workspace: Path) -> None:
    before = set(workspace.iterdir())
    done = virc("train", "./mine.yaml", "--rounds", 2, *rounds_plan.WORDS, "--dry-run")
    assert rounds_plan.anywhere(done.out, workspace) == rounds_plan.GOLDEN.read_text(), done.err
    assert set(workspace.iterdir()) == before


def test_every_step_is_run_once_and_more_rounds_go_on(workspace: Path) -> None:
    found = of_tiny(workspace)
    recorder = Recorder(found)
    assert [each.progress for each in running.run(found, runner=recorder)] == 4 * ["done"]
    assert recorder.typed == [step.typed for step in found.steps]
    running.run(found, runner=recorder)
    assert len(recorder.typed) == 4
    longer = of_tiny(workspace, 3)
    assert [each.progress for each in states(longer)] == [*4 * ["done"], *2 * ["to do"]]
    recorder = Recorder(longer)
    running.run(longer, runner=recorder)
    assert recorder.typed == [step.typed for step in longer.steps[4:]]
    assert "--model tiny-r2-practice" in recorder.typed[0]


def test_a_step_that_failed_is_taken_up_again(workspace: Path) -> None:
    found = of_tiny(workspace)
    recorder = Recorder(found)
    recorder.fails_at = 1
    with pytest.raises(steps.StepFailedError) as failed:
        running.run(found, runner=recorder)
    assert (failed.value.code, failed.value.step.name) == (8, "practice")
    assert failed.value.message == "step 2 of 4, round 1, practice, failed: exit code 8"
    tried: list[tuple[str, int]] = []
    with pytest.raises(steps.StepFailedError):
        steps.run(
            found.steps, workspace, lambda step: step.words, Reporter(None),
            runner=lambda *_: 8, tried=lambda step, seconds, code: tried.append((step.name, code)),
        )  # fmt: skip
    assert tried == [(found.steps[0].name, 8)]
    assert found.steps[1].resolved
    settings = msgspec.to_builtins(found.steps[1].resolved.config)
    stopped = made.make(workspace, "tiny-r1-practice", stage="practice", settings=settings)
    runs.write_state(stopped, progress="stopped", step=1, total=3)
    running.run(found, runner=recorder)
    assert recorder.typed[2] == "virc train --resume --name tiny-r1-practice"
    assert len(recorder.typed) == 5


@pytest.mark.parametrize("trains", [True, False])
def test_a_step_of_rounds_that_were_killed_is_waited_for(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, trains: bool
) -> None:
    found, said = of_tiny(workspace, 1), list[str]()
    sampled(found.steps[0], workspace)
    locked = run = workspace / found.steps[1].makes
    if trains:
        locked = (
            made.make(workspace, run.name, stage="practice", settings=found.steps[1].resolved.config).folder / "attempt"
        )
    else:  # it prepares the run
        (workspace / "runs").mkdir()
    former, recorder = locks.lock(locked), Recorder(found)

    def runner(words: tuple[str, ...], folder: Path) -> int:
        assert not locks.is_held(locked)
        return recorder(words, folder)

    monkeypatch.setattr(steps.time, "sleep", lambda _: locks.unlock(former))
    running.run(found, lambda event: said.append(event.text), runner)
    assert "waiting for the process that still works on runs/tiny-r1-practice" in said
    resumed = "virc train --resume --name tiny-r1-practice"
    assert recorder.typed == [resumed if trains else found.steps[1].typed]


def test_what_was_made_otherwise_is_refused(workspace: Path) -> None:
    found = of_tiny(workspace)
    running.run(found, runner=Recorder(found))
    words = ("train", "tiny", "--rounds", 2, "--data", "problems.jsonl")
    other = virc(*words, "--from", "tiny", "--set", "learning_rate=1e-6")
    assert other.code == 3
    assert "the run tiny-r1-practice was made with learning_rate 0.0003, not 1e-06" in other.err
    assert "--name NAME begins other rounds" in other.err
    of_stage = msgspec.structs.replace(found.steps[1], name="instruct")
    with pytest.raises(ConfigError, match="tiny-r1-practice was made with stage practice, not instruct"):
        running.state(of_stage, workspace)
    warmer = msgspec.structs.replace(found.steps[0], sample_settings={**found.steps[0].sample_settings, "seed": 9})
    with pytest.raises(ConfigError, match=r"trajectories\.progress was made with seed 1, not 9"):
        running.state(warmer, workspace)
    base = virc(*words, "--from", "tiny-base")
    assert (base.code, "was made with model tiny@7, not tiny-base" in base.err) == (3, True), base.err
    assert virc(*words, "--from", "tiny", "--name", "again", "--dry-run").code == 0


def test_only_one_process_works_on_the_same_rounds(workspace: Path) -> None:
    found = of_tiny(workspace)

    def runner(words: tuple[str, ...], folder: Path) -> int:
        with pytest.raises(ConfigError, match="another process works on the rounds tiny"):
            running.run(found, runner=Recorder(found))
        return 1

    with pytest.raises(steps.StepFailedError):
        running.run(found, runner=runner)
    assert not list((workspace / "runs").iterdir())
