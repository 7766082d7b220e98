"""Signs of ill health are told from metrics alone, and each is said once when it begins and once when it ends."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.made import add, make
from support.reported import show_event

from virc.core.events import Reporter
from virc.runs import run as runs
from virc.runs.metrics import Metric, metrics
from virc.runs.run import Run
from virc.stages import rl
from virc.training import health
from virc.training.health import Note, Watch


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
    health.write(run, [Note(1, "correlation", True, "it is low")])
    seen = watch(run, "correlation")
    seen.take([step(2, correlation=0.5)])
    assert seen.reason is None
    assert capsys.readouterr().err == ""
    seen.take([step(3), step(4, correlation=0.5)])
    assert seen.reason is not None
