"""What verl says: lines that a run of `tiny` logged, and ends of logs of runs that failed."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.made import make

from virc.core.errors import EngineError
from virc.engines.verl import log as verl_log
from virc.runs import run as runs
from virc.runs.metrics import Metric
from virc.runs.run import Info
from virc.stages import rl

RECORDED = Path(__file__).parent / "verl" / "steps.jsonl"


def info(workspace: Path, rows: int = 164, **settings: Any) -> Info:
    given = msgspec.to_builtins(rl.Config(data="rows", train_batch_size=8, ppo_mini_batch_size=8)) | settings
    return runs.info(make(workspace, "a", kind="rl", rows=rows, settings=given, origins={}))


def reader(workspace: Path, attempt: int = 1, *known: Metric) -> Callable[[bytes], Metric | None]:
    return verl_log.reader(info(workspace, steps=2), attempt, known)


def test_a_step_becomes_the_metric_of_all_engines(workspace: Path) -> None:
    first, second = map(reader(workspace), RECORDED.read_bytes().splitlines())
    assert first is not None
    assert second is not None
    assert (first.step, first.total, first.attempt, first.epoch, first.loss) == (1, 2, 1, 0.0, None)
    assert first.terms == pytest.approx(
        {"answer": 0.125, "format": 1.0, "overlap": 0.670154, "tool_choice": 0.833333}, abs=1e-6
    )
    assert (first.reward, first.reward_min, first.reward_max) == pytest.approx((0.288546, 0.0, 0.8), abs=1e-6)
    assert (first.response_length, first.response_length_max, first.prompt_length) == (31.8125, 60.0, 183.125)
    assert (first.cut, first.same, first.malformed, first.turns, first.tool_calls) == (0.0, 0.25, 0.0, 1.0, 0.75)
    assert (first.entropy, first.clip_fraction, first.grad_norm) == pytest.approx((0.0775, 0, 0.2592), abs=1e-4)
    assert (first.correlation, first.learning_rate, first.kl, first.validation) == (1.0, 1e-5, None, None)
    assert sum(first.parts.values()) == pytest.approx(14.174008)
    assert second.parts["save"] == pytest.approx(0.0688386)
    assert second.tokens == 6878 + 5301
    assert second.seconds == pytest.approx(14.174008 + 3.947826)
    assert second.tokens_per_second == pytest.approx(12179 / 18.121834)


def line(**data: object) -> bytes:
    return json.dumps({"step": 4, "data": data}).encode()


@pytest.mark.parametrize(
    ("said", "read"),
    [
        ({"val-core/virc/reward/mean@1": 0.25, "val-core/other/reward/mean@1": 0.75, "val-aux/virc/format/mean@1": 1},
         {"validation": 0.5, "aside": True, "reward": None}),
        ({"virc/tool_failures": 0.25, "response_length/mean": 3}, {"tool_failures": 0.25}),
        ({"virc/judge_seconds": 3.0, "timing_s/step": 12.0}, {"judge_wait": 0.25}),
        ({"critic/score/mean": None, "actor/grad_norm": None, "response_length/mean": 3},
         {"reward": None, "grad_norm": None, "aside": False}),
    ],
    ids=["validation is the mean over kinds of rows", "calls that failed", "share of a step", "no numbers"],
)  # fmt: skip
def test_what_a_line_says_becomes_metrics(workspace: Path, said: dict[str, Any], read: dict[str, Any]) -> None:
    found = reader(workspace)(line(**said))
    assert {name: getattr(found, name) for name in read} == read


LENGTHS = "(Runner pid=1) dataset len: {}\n(Runner pid=1) Using dataset class\n(Runner pid=1) dataset len: 1\n"
FILTERED = (
    "(Runner pid=1) dataset len: 200\n(Runner pid=1) filter dataset len: {}\n"
    "(Runner pid=1) dataset len: 9\n(Runner pid=1) filter dataset len: 8\n"
)


@pytest.mark.parametrize("text", [LENGTHS, FILTERED])
def test_rows_that_verl_left_out_end_the_run(workspace: Path, text: str) -> None:
    log = workspace / "engine.log"
    about = info(workspace)
    log.write_text(text.format(164))
    verl_log.started(log, about, 0)
    log.write_text(text.format(160))
    with pytest.raises(EngineError, match="verl trains on 160 rows, and 164 were checked"):
        verl_log.started(log, about, 0)
