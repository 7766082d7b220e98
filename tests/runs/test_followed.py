"""What a follower says and writes of an attempt, by a clock that is set."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from support.made import add, make

from virc.core.errors import EngineError
from virc.core.events import Event, Reporter
from virc.engines import registry as engines
from virc.runs import run as runs
from virc.runs.metrics import Metric, metrics
from virc.runs.run import Run
from virc.stages import rl
from virc.training import follow, health
from virc.training.follow import Follower, StepEvent
from virc.training.health import Note
from virc.training.silence import Silence


class Attempt:
    """An attempt whose engine does what a test says, and a clock."""

    def __init__(self, run: Run, monkeypatch: pytest.MonkeyPatch, number: int = 1, step: int = 0) -> None:
        self.run, self.now, self.events = run, 100.0, list[Event]()
        monkeypatch.setattr(follow, "time", SimpleNamespace(monotonic=lambda: self.now))
        run.attempt(number).mkdir(parents=True)
        self.log = run.log(number)
        self.log.touch()
        info = runs.info(run)
        self._metrics = run.folder / engines.of_kind(info.kind).log.METRICS
        self._metrics.parent.mkdir(parents=True, exist_ok=True)
        self.follower = Follower(run, info, number, step, Reporter(self.events.append))

    def logs(self, *lines: str) -> list[tuple[str, str]]:
        """What is said once these lines came."""
        with self.log.open("a") as file:
            file.writelines(f"{line}\n" for line in lines)
        return self.polled()

    def steps(self, *lines: dict[str, Any]) -> list[tuple[str, str]]:
        with self._metrics.open("a") as file:
            file.writelines(json.dumps(line) + "\n" for line in lines)
        return self.polled()

    def polled(self, after: float = 0.0) -> list[tuple[str, str]]:
        self.now += after
        before = len(self.events)
        self.follower.poll()
        return [(each.kind, each.text) for each in self.events[before:] if each.kind != "log"]


def trained(step: int, **fields: Any) -> dict[str, Any]:
    """A line of LLaMA-Factory about a step of ten, each of which takes two minutes."""
    time = f"0:{2 * step:02}:00"
    return {"current_steps": step, "total_steps": 10, "lr": 0.1, "loss": 1 / step, "elapsed_time": time, **fields}


def sampled(step: int, **fields: float | None) -> dict[str, Any]:
    """A line of verl about a step."""
    data = {"critic/score/mean": 0.5, "response_length/mean": 30.0, "actor/grad_norm": 1.0, "timing_s/step": 60.0}
    return {"step": step, "data": {**data, **fields}}


@pytest.fixture
def of_rl(workspace: Path) -> Run:
    return make(workspace, "a", kind="rl", settings=msgspec.to_builtins(rl.Config(data="rows")))


def test_phases_end_in_the_order_of_the_log_and_are_timed(of_rl: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = Attempt(of_rl, monkeypatch)
    assert seen.polled(10) == [("progress", "1/4 starting Ray and reading the rows, 10 s; usually 20 s to 1 min")]
    assert seen.logs("nothing of note") == seen.polled()
    done = ("note", "starting Ray and reading the rows: done in 15 s")
    seen.now += 5
    assert seen.logs("dataset len: 1234") == [done, ("progress", "2/4 loading the model, 0 s; usually 1 to 5 min")]
    assert seen.polled(7) == [("progress", "2/4 loading the model, 7 s; usually 1 to 5 min")]
    assert seen.logs("(vLLMHttpServer pid=3) hello") == [
        ("note", "loading the model: done in 7 s"),
        ("progress", "3/4 starting the rollout server, 0 s; usually 1 to 4 min"),
    ]
    (step,) = seen.steps(sampled(1))
    assert step[1].startswith("step 1/19  reward 0.5  length 30")
    assert seen.logs("LLMServerManager: again") == [], "it has begun to train"


def test_a_line_may_end_several_phases(of_rl: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    seen, starts = Attempt(of_rl, monkeypatch), list[bool]()
    monkeypatch.setattr(seen.follower.silence, "look", lambda *, starting: starts.append(starting))
    seen.logs("dataset len: 1234")
    seen.now += 9
    note, progress = seen.logs("LLMServerManager: there")
    assert note == ("note", "loading the model and starting the rollout server: done in 9 s")
    assert progress[1].startswith("4/4 first batch: rollouts, rewards, update, 0 s")
    assert starts == [True, False], "the first batch may take longer than a part of the start"


def test_an_attempt_that_goes_on_adds_to_those_before(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make(workspace, "a")
    add(run, *(Metric(step=step, loss=1 / step) for step in (1, 2)))
    runs.write_state(run, attempt=2, total=10, seconds=50.0)
    seen = Attempt(run, monkeypatch, number=2, step=2)
    assert (seen.follower.step, seen.follower.total) == (2, 10)
    (said,) = seen.steps(trained(3, elapsed_time="0:02:00"))
    assert said[1].endswith("  14 min left"), "the step that this attempt made took two minutes"
    shown = [event for event in seen.events if isinstance(event, StepEvent)]
    assert shown[-1].history == [1, 1 / 2, 1 / 3]
    assert [(each.step, each.attempt) for each in metrics(run)] == [(1, 1), (2, 1), (3, 2)]


@pytest.mark.parametrize("first", [{"current_steps": 2}, {"current_steps": 1}])
def test_an_engine_that_begins_anew_is_refused(
    first: dict[str, int], workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = Attempt(make(workspace, "a"), monkeypatch, step=2)
    with pytest.raises(EngineError, match="the engine did not resume from step 2"):
        seen.steps({**trained(2), **first})


def test_an_engine_of_one_phase_counts_no_phases(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = Attempt(make(workspace, "a"), monkeypatch)
    assert seen.polled(3) == [("progress", "reading the rows and loading the model, 3 s; usually 1 to 5 min")]


def test_a_step_is_said_counted_and_written(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make(workspace, "a")
    runs.write_state(run, seconds=50.0)
    seen = Attempt(run, monkeypatch)
    seen.now += 7
    (said,) = seen.steps(trained(4))
    assert said[0] == "progress"
    assert said[1].startswith("step 4/10  loss 0.25  ")
    assert said[1].endswith("  12 min left")  # two minutes for each of the six
    state = runs.state(run)
    assert (state.step, state.total, state.loss, state.reward, state.seconds) == (4, 10, 0.25, None, 57.0)
    assert (seen.follower.step, seen.follower.total, seen.follower.started) == (4, 10, True)
    assert seen.steps(trained(5), trained(6))[-1][1].startswith("step 6/10")
    shown = [event for event in seen.events if isinstance(event, StepEvent)]
    assert [event.metric.step for event in shown] == [4, 6]
    assert shown[-1].history == [1 / 4, 1 / 5, 1 / 6]
    assert [each.step for each in metrics(run)] == [4, 5, 6]
    seen.steps({"current_steps": 6, "total_steps": 10, "eval_loss": 9.0})
    assert runs.state(run).loss == 1 / 6, "that of an evaluation is none of training"
    assert not seen.steps(trained(10))[-1][1].endswith("left")


def test_the_state_is_a_sign_of_life_every_half_minute(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = Attempt(make(workspace, "a"), monkeypatch)
    seen.steps(trained(1))
    for after, seconds in ((29.0, 0.0), (1.0, 30.0), (29.0, 30.0), (1.0, 60.0)):
        assert seen.polled(after) == []
        assert runs.state(seen.run).seconds == seconds


@pytest.mark.parametrize(
    ("lines", "warnings"),
    [
        ([sampled(1)], 0),
        ([sampled(1, **{"actor/grad_norm": None})], 1),
        ([sampled(1, **{"critic/score/mean": None}), sampled(2)], 1),  # any of them
    ],
)
def test_a_reward_or_a_gradient_that_is_no_number_is_a_warning(
    of_rl: Run, monkeypatch: pytest.MonkeyPatch, lines: list[dict[str, Any]], warnings: int
) -> None:
    seen = Attempt(of_rl, monkeypatch)
    said = [text for kind, text in seen.steps(*lines) if kind == "warning"]
    assert said == [f"the reward or gradient at step {len(lines)} is not a number"] * warnings
    hints = [event.hint for event in seen.events if event.kind == "warning"]
    assert hints == ["lower learning_rate"] * warnings


def test_only_the_first_failure_of_a_tool_is_a_warning(of_rl: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = Attempt(of_rl, monkeypatch)
    failures = [f"virc: the tool look fails in line {line}" for line in (1, 2)]
    assert seen.logs(*failures)[0] == ("warning", "the tool look fails in line 1")
    assert [kind for kind, _ in seen.logs(failures[0])] == ["progress"]
    assert [event.text for event in seen.events if event.kind == "log"] == [*failures, failures[0]]


def test_what_a_killed_attempt_logged_is_taken_over_once(workspace: Path) -> None:
    run = make(workspace, "a")
    add(run, *(Metric(step=step, loss=1.0) for step in (1, 2, 3)))
    source = run.folder / engines.of_kind("sft").log.METRICS
    source.parent.mkdir(parents=True, exist_ok=True)
    source.write_text("".join(json.dumps(trained(step)) + "\n" for step in (2, 3, 4)))
    runs.write_state(run, attempt=2)
    follow.take_over(run)
    assert [(each.step, each.loss) for each in metrics(run)] == [(1, 1.0), (2, 1.0), (3, 1.0), (4, 0.25)]
    assert [each.attempt for each in metrics(run)] == [1, 1, 1, 2]
    follow.take_over(run)
    assert [each.step for each in metrics(run)] == [1, 2, 3, 4]


def test_what_was_noted_after_the_checkpoint_is_dropped_with_the_metrics(workspace: Path) -> None:
    run = make(workspace, "a")
    add(run, *(Metric(step=step, loss=1.0) for step in (1, 2, 3)))
    health.write(run, [Note(step, "loss", True, "it rose") for step in (1, 2, 3)])
    follow.drop_after(run, 2)
    assert [each.step for each in metrics(run)] == [note.step for note in health.notes(run)] == [1, 2]
    add(run, Metric(step=0, validation=0.5))
    follow.drop_after(run, 0)  # begun anew, with that validation
    assert list(metrics(run)) == []


JUDGE = {"endpoint": "http://a", "patience": 3600.0}


@pytest.mark.parametrize(
    ("reward", "seconds"),
    [
        (None, 1800),
        ({"judge": JUDGE}, 7200),
        ({"judge": {**JUDGE, "patience": None}, "judges": None}, 1800),
        ({"judge": JUDGE, "judges": {"a": {**JUDGE, "patience": 60.0}}}, 7200),  # the most patient
        ({"judge": {**JUDGE, "patience": 60.0}, "judges": {"a": None, "b": JUDGE}}, 7200),
        ({"judge": {**JUDGE, "endpoint": None}}, 1800),
    ],
)
def test_an_engine_waits_for_the_most_patient_judge(workspace: Path, reward: Any, seconds: float) -> None:
    run = make(workspace, "a", kind="rl", settings={"reward": reward})
    silence = Silence(run, runs.info(run), run.log(1), [Metric(step=1, seconds=10.0)])
    assert silence.limit(starting=False) == seconds + 30


def test_one_validation_of_several_lines_is_timed(workspace: Path) -> None:
    settings = {"test_freq": 2}
    run = make(workspace, "a", kind="rl", settings=settings, validation="rows")
    new: Callable[[], Silence] = lambda: Silence(run, runs.info(run), run.log(1), [])  # noqa: E731
    for validated, limit in (([None, None], 10_800), ([0.5, None], 1830), ([None, 0.5], 1830)):
        silence = new()
        silence.take([Metric(step=at, seconds=10.0 * at - 10, validation=each) for at, each in enumerate(validated, 2)])
        assert silence.limit(starting=False) == limit
