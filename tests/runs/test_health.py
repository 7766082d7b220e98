"""Signs of ill health are told from metrics alone, and each is said once when it begins and once when it ends."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.called import virc
from support.made import add, make
from support.reported import show_event

from virc.core.events import Reporter
from virc.reasoning.protocol import FILE_NAME
from virc.runs import run as runs
from virc.runs.metrics import Metric, metrics
from virc.runs.run import Run
from virc.stages import rl
from virc.training.health import Watch


def step(number: int, **fields: Any) -> Metric:
    healthy = {
        "reward": 0.5, "grad_norm": 1.0, "response_length": 100.0, "tool_calls": 2.0, "same": 0.3, "cut": 0.0,
        "malformed": 0.05, "correlation": 0.9999, "judge_failures": 0.0,
    }  # fmt: skip
    return Metric(step=number, **{**healthy, **fields})


@pytest.fixture
def run(workspace: Path) -> Run:
    return make(workspace, "a", kind="rl", settings=msgspec.to_builtins(rl.Config(data="rows")))


def watch(run: Run, *stop_on: str) -> Watch:
    info = runs.info(run)
    settings = {**info.settings, "stop_on": list(stop_on)}
    return Watch(run, msgspec.structs.replace(info, settings=settings), list(metrics(run)), Reporter(show_event))


@pytest.mark.parametrize(("bad", "ends"), [((4, 5, 6), True), ((3, 5, 6), False), ((2, 3), False)])
def test_three_steps_without_a_finite_gradient_end_the_run(run: Run, bad: tuple[int, ...], ends: bool) -> None:
    seen = watch(run)
    seen.take([step(number, **({"grad_norm": None} if number in bad else {})) for number in range(1, 7)])
    assert bool(seen.reason) == ends
    assert not ends or "training diverged: no finite reward and gradient since step 4" in str(seen.reason)


def test_a_resumed_run_goes_on_past_a_sign_that_has_begun(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    add(run, step(1, correlation=0.5))
    seen = watch(run, "correlation")
    seen.take([step(2, correlation=0.5)])
    assert seen.reason is None
    assert capsys.readouterr().err == ""
    seen.take([step(3), step(4, correlation=0.5)])
    assert seen.reason is not None


def test_a_run_ends_where_more_calls_of_tools_fail_than_it_allows(workspace: Path) -> None:
    allowed = {**msgspec.to_builtins(rl.Config(data="rows")), "max_tool_failures": 0.5}
    seen = watch(make(workspace, "a", kind="rl", settings=allowed))
    seen.take([step(1), step(2, tool_failures=0.5)])
    assert seen.reason is None
    seen.take([step(3, tool_failures=0.6)])
    assert seen.reason == "the tool failed in 60% of a step's calls"


@pytest.mark.parametrize(("fields", "sign"), [({}, None), ({"tool_calls": 0.0}, "tools")])
def test_diagnose_prints_the_signs_of_a_run(run: Run, fields: dict[str, float], sign: str | None) -> None:
    (run.folder / FILE_NAME).write_text('{"tools": ["crop_image"]}')
    add(run, *(step(number, **fields) for number in range(1, 31)))
    runs.write_state(run, progress="finished", step=30, total=30)
    done, shown = virc("runs", "diagnose", "a", "--json"), virc("runs", "show", "a", "--json")
    assert (done.code, done.json["healthy"]) == ((7, False) if sign else (0, True))
    assert list(done.json["signs"]) == ([sign] if sign else [])
    assert shown.json["health"] == done.json["signs"]
    plain = virc("runs", "diagnose", "a")
    assert all(f"  {sign}  {says}" in plain.out for sign, says in done.json["signs"].items())


def test_diagnose_says_why_a_run_failed(run: Run) -> None:
    add(run, step(1), step(2, reward=None))
    runs.write_state(run, progress="failed", step=2, attempt=2, error="the disk is full")
    done = virc("runs", "diagnose", "a", "--json")
    assert (done.code, done.json["verdict"]) == (7, "a failed at step 2: the disk is full")
    assert list(done.json["signs"]) == ["diverged"]
    assert done.json["error"]["hint"] == f"see {run.log(2)}"
