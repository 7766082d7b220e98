"""What a follower says and writes of an attempt, by a clock that is set."""

import json
from pathlib import Path
from typing import Any

from support.made import add, make

from virc.engines import registry as engines
from virc.runs import run as runs
from virc.runs.metrics import Metric, metrics
from virc.training import follow


def trained(step: int, **fields: Any) -> dict[str, Any]:
    """A line of LLaMA-Factory about a step of ten, each of which takes two minutes."""
    time = f"0:{2 * step:02}:00"
    return {"current_steps": step, "total_steps": 10, "lr": 0.1, "loss": 1 / step, "elapsed_time": time, **fields}


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
