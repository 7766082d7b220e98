"""Signs of ill health are told from metrics alone, and each is said once when it begins and once when it ends."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.made import add, make
from support.reported import show_event

from virc.core.events import Reporter
from virc.reasoning.protocol import FILE_NAME
from virc.runs import run as runs
from virc.runs.metrics import Metric, diverged, metrics
from virc.runs.run import Run
from virc.stages import rl
from virc.training import health
from virc.training.follow import Follower
from virc.training.health import Note, Watch


def step(number: int, **fields: Any) -> Metric:
    healthy = {
        "reward": 0.5, "grad_norm": 1.0, "response_length": 100.0, "tool_calls": 2.0, "same": 0.3, "cut": 0.0,
        "malformed": 0.05, "correlation": 0.9999, "judge_failures": 0.0,
    }  # fmt: skip
    return Metric(step=number, **{**healthy, **fields})


def steps(count: int, **fields: Any) -> list[Metric]:
    return [step(number, **fields) for number in range(1, count + 1)]


@pytest.fixture
def run(workspace: Path) -> Run:
    return make(workspace, "a", kind="rl", settings=msgspec.to_builtins(rl.Config(data="rows")))


def watch(run: Run, *stop_on: str) -> Watch:
    info = runs.info(run)
    settings = {**info.settings, "stop_on": list(stop_on)}
    return Watch(run, msgspec.structs.replace(info, settings=settings), list(metrics(run)), Reporter(show_event))


def test_a_healthy_run_has_no_sign() -> None:
    assert health.signs([]) == {}
    assert health.signs([*steps(40), step(41, validation=0.5)]) == {}
    assert health.signs([Metric(step=1, loss=0.5, learning_rate=1e-5)]) == {}


@pytest.mark.parametrize(
    ("sign", "bad", "good", "says"),
    [
        ("tools", {"tool_calls": 0.99}, {"tool_calls": 1.01}, "tool calls a reply fell to 0.99, from 2"),
        ("variance", {"same": 0.81}, {"same": 0.79}, "in 81% of groups"),
        ("length", {"cut": 0.21}, {"cut": 0.19}, "21% of replies are cut"),
        ("format", {"malformed": 0.16}, {"malformed": 0.14}, "16% of replies are not in the format, from 5%"),
        ("tool_failures", {"tool_failures": 0.01}, {"tool_failures": None}, "the tool failed in 1% of a step's calls"),
        ("judge", {"judge_failures": 3.0}, {"judge_failures": 0.0}, "no verdict on 3 questions"),
        ("correlation", {"correlation": 0.9899}, {"correlation": 0.99}, "at 0.9899"),
    ],
)  # fmt: skip
def test_each_sign_has_its_threshold(sign: str, bad: dict[str, float], good: dict[str, float], says: str) -> None:
    before = steps(5)
    found = health.signs([*before, *(step(number, **bad) for number in (6, 7, 8))])
    assert list(found) == [sign]
    assert says in found[sign]  # type: ignore[index]
    assert health.signs([*before, *(step(number, **good) for number in (6, 7, 8))]) == {}


@pytest.mark.parametrize("lacks", ["reward", "grad_norm"])
def test_a_reward_or_a_gradient_that_is_no_number_is_one_that_the_line_lacks(lacks: str) -> None:
    assert not diverged(step(1))
    assert diverged(step(1, **{lacks: None}))


@pytest.mark.parametrize(("bad", "ends"), [((4, 5, 6), True), ((3, 5, 6), False), ((2, 3), False)])
def test_three_steps_without_a_finite_gradient_end_the_run(run: Run, bad: tuple[int, ...], ends: bool) -> None:
    seen = watch(run)
    seen.take([step(number, **({"grad_norm": None} if number in bad else {})) for number in range(1, 7)])
    assert bool(seen.reason) == ends
    assert not ends or "training diverged: no finite reward and gradient since step 4" in str(seen.reason)


def test_what_is_held_against_the_first_steps_needs_later_ones() -> None:
    assert health.signs([step(1), *(step(number, tool_calls=0.0) for number in (2, 3, 4, 5))]) == {}


def test_later_steps_are_not_averaged_with_the_first() -> None:
    for number in (6, 7):
        later = [step(at, tool_calls=0.0) for at in range(6, number + 1)]
        assert list(health.signs([*steps(5), *later])) == ["tools"]


@pytest.mark.parametrize(("bad", "found"), [((9, 10, 11), ["tools", "length"]), ((6, 7, 8), [])])
def test_the_newest_steps_are_compared_with_the_first(bad: tuple[int, ...], found: list[str]) -> None:
    worse = {"tool_calls": 0.5, "cut": 0.5}
    later = [step(number, **(worse if number in bad else {})) for number in range(6, 12)]
    assert list(health.signs([*steps(5), *later])) == found


def test_one_noisy_step_is_no_sign_where_a_mean_is_meant() -> None:
    assert health.signs([*steps(10), step(11, tool_calls=0.0, same=0.9, cut=0.3)]) == {}


def test_a_number_that_is_not_measured_is_no_sign() -> None:
    assert health.signs([step(number, correlation=None, tool_calls=None) for number in range(1, 9)]) == {}


def test_a_sign_is_said_and_noted_when_it_begins_and_when_it_ends(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    seen = watch(run)
    seen.take([step(1), step(2, correlation=0.5), step(3, correlation=0.4), step(4), step(5)])
    said = capsys.readouterr().err.splitlines()
    assert [line for line in said if "correlate" in line] == [
        "warning: correlation: the rollout engine's probabilities correlate with the trainer's at 0.5000: it uses "
        "other weights"
    ]
    assert "note: correlation: normal again at step 4" in said
    assert [(note.step, note.sign, note.begins) for note in health.notes(run)] == [
        (2, "correlation", True),
        (4, "correlation", False),
    ]
    assert (health.active(run), seen.reason) == ({}, None)


def test_a_sign_of_stop_on_is_the_reason_to_end_and_others_are_not(run: Run) -> None:
    seen = watch(run, "length", "judge")
    seen.take([step(1, correlation=0.5)])
    assert seen.reason is None
    seen.take([step(2, cut=1.0)])
    assert seen.reason == "50% of replies are cut at the length limit"  # of both steps


def test_a_sign_of_supervised_training_ends_a_run_that_is_to_stop_on_it(workspace: Path) -> None:
    seen = watch(make(workspace, "b"), "loss")
    seen.take([Metric(step=number, loss=1.0, learning_rate=1e-5) for number in range(1, 21)])
    assert seen.reason is None
    seen.take([Metric(step=20, eval_loss=9.0)])
    seen.take([Metric(step=number, loss=4.0, learning_rate=1e-5) for number in range(21, 24)])
    assert seen.reason == "the loss rose to 4, from 1"


def test_a_call_is_missed_only_where_there_are_tools(run: Run) -> None:
    (run.folder / FILE_NAME).write_text('{"tools": []}')
    seen = watch(run, "tools")
    seen.take(steps(9, tool_calls=0.0))
    assert seen.reason is None
    (run.folder / FILE_NAME).write_text('{"tools": ["crop_image"]}')
    seen = watch(run, "tools")
    seen.take(steps(9, tool_calls=0.0))
    assert seen.reason == "replies call no tool: 0 calls a reply since the first step"


@pytest.mark.parametrize(("shares", "ends"), [((0.1, 0.1), False), ((0.11,), True), ((0.05, 0.11), True)])
def test_a_run_ends_where_too_many_calls_fail(run: Run, shares: tuple[float, ...], ends: bool) -> None:
    seen = watch(run)  # with `max_tool_failures` .1
    seen.take(step(number, tool_failures=share) for number, share in enumerate(shares, 1))
    assert seen.reason == ("the tool failed in 11% of a step's calls" if ends else None)


def test_failing_tools_of_steps_before_do_not_end_a_resumed_run(run: Run) -> None:
    add(run, step(1, tool_failures=1.0))
    seen = watch(run)
    seen.take([step(2, tool_failures=0.05)])
    assert seen.reason is None


def test_the_first_failure_of_a_tool_is_a_warning_with_its_cause(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run.attempt(1).mkdir(parents=True)
    failure = "(Worker pid={}) virc: the tool look fails in line 14 of look.py: OSError: gone\n"
    run.log(1).write_text(failure.format(1) + failure.format(2))
    Follower(run, runs.info(run), 1, 0, Reporter(show_event)).poll()
    said = capsys.readouterr().err
    assert said.count("warning: the tool look fails in line 14 of look.py: OSError: gone\n") == 1


def test_a_resumed_run_goes_on_past_a_sign_that_has_begun(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    add(run, step(1, correlation=0.5))
    health.write(run, [Note(1, "correlation", True, "it is low")])
    seen = watch(run, "correlation")
    seen.take([step(2, correlation=0.5)])
    assert seen.reason is None
    assert capsys.readouterr().err == ""
    seen.take([step(3), step(4, correlation=0.5)])
    assert seen.reason is not None


def test_notes_after_the_checkpoint_are_dropped_and_half_a_line_is_none(run: Run) -> None:
    health.write(run, [Note(number, "length", True, "long") for number in (1, 2, 3)])
    with (run.folder / health.FILE).open("a") as file:
        file.write('{"step": 4, "sign"')
    health.drop_after(run, 2)
    assert [note.step for note in health.notes(run)] == [1, 2]
    assert (run.folder / health.FILE).read_text().count("\n") == 2
