import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from virc.core.errors import EngineError
from virc.engines.llamafactory import log as engine_log
from virc.runs.metrics import Metric

ELASTIC = """[rank1]: Traceback (most recent call last):
[rank1]:   File "x.py", line 3, in f
[rank1]:     raise ValueError(f"Some keys are not used by the HfArgumentParser: {sorted(unused_keys)}")
[rank1]: ValueError: Some keys are not used by the HfArgumentParser: ['learnin_rate']
E1120 torch.distributed.elastic.multiprocessing.errors.ChildFailedError:
"""
ENDED = """[rank1]: ValueError: rows of two sizes
[rank0]: RuntimeError: Connection closed by peer
torch.distributed.elastic.multiprocessing.errors.ChildFailedError:
"""


def line(**fields: object) -> bytes:
    return json.dumps({"current_steps": 3, "total_steps": 12, "lr": 1e-4, **fields}).encode()


def test_a_line_of_the_engine_becomes_the_metric_of_all_engines() -> None:
    found = engine_log.metric(
        line(loss=0.4, epoch=0.5, throughput=812.5, total_tokens=4096.0, elapsed_time="1 day, 2:03:04"), 2
    )
    assert found is not None
    assert (found.step, found.total, found.attempt, found.loss) == (3, 12, 2, 0.4)
    assert (found.tokens, found.tokens_per_second, found.seconds) == (4096, 812.5, 86400 + 7384)


def test_the_speed_of_an_attempt_leaves_its_start_out() -> None:
    info: Any = SimpleNamespace()
    read = engine_log.reader(info, 2, [Metric(step=1, attempt=1, tokens=1000)])
    counted = ((1100, 100), (1300, 110), (1300, 130), (1500, 120))  # tokens, and seconds with 100 of the start
    lines = [line(loss=1.0, total_tokens=float(tokens), throughput=tokens / spent) for tokens, spent in counted]
    assert [found and found.tokens_per_second for found in map(read, lines)] == pytest.approx([1, 20, 200 / 30, 20])
    untold = read(line(loss=1.0, throughput=5.0))
    assert untold
    assert (untold.tokens, untold.tokens_per_second) == (None, 5.0)


def test_a_line_without_a_loss_is_a_step_all_the_same() -> None:
    held_out = engine_log.metric(b'{"current_steps": 3, "eval_loss": 0.75, "elapsed_time": "0:01:05"}', 1)
    assert held_out == Metric(step=3, attempt=1, eval_loss=0.75, seconds=65.0)
    assert engine_log.metric(line(loss=float("nan")), 1) == Metric(step=3, attempt=1, total=12, learning_rate=1e-4)
    for torn in (b'{"current_steps": 3', b"[1]", b"\xff"):
        assert engine_log.metric(torn, 1) is None


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.50 GiB.", 1, "ran out of memory"),
        ("OSError: [Errno 28] No space left on device", 1, "disk is full"),
        (
            "TimeoutError: waited 600 s at n1:29500 for process 3 of 8",
            1,
            "did not meet: it waited 600 s at n1:29500 for",
        ),
        (ENDED, 1, "ValueError: rows of two sizes"),
        ("torch.distributed.elastic.multiprocessing.errors.ChildFailedError:\n", 1, "one of its processes ended"),
        (
            "FloatingPointError: the loss of step 4 is nan\nValueError: x",
            1,
            "training diverged: the loss of step 4 is nan",
        ),
        (ELASTIC, 1, "it has no key ['learnin_rate']"),
        ("nothing of use\n \n", 3, "exit code 3: nothing of use"),
        ("loading\n", -9, "killed"),
    ],
)
def test_the_reason_of_a_failure_is_one_clause(tmp_path: Path, text: str, code: int, said: str) -> None:
    log = tmp_path / "engine.log"
    log.write_text(f"$ python -m llamafactory.launcher engine.yaml\n{text}")
    clause, hint = engine_log.cause(log, code)
    assert said in clause
    assert "\n" not in clause
    hints = {"memory": "--with lora", "disk": "save_total_limit=1", "cutoff": "max_pixels", "port": "start it again",
             "meet": "the network", "no key": "leave it out", "diverged": "lower learning_rate",
             "killed": "free memory"}  # fmt: skip
    assert next((each in str(hint) for word, each in hints.items() if word in said), hint is None), hint


LOADED = "There were missing keys in the checkpoint model loaded: ['lm_head.weight'].\n"  # it is tied
MISSING = LOADED.replace("['", "['model.visual.a', 'model.b', '")


@pytest.mark.parametrize(
    ("text", "step", "said"),
    [
        (LOADED + "  Num examples = 48\n", 4, None),
        (MISSING + "  Num examples = 48\n", 0, None),
        (MISSING + "  Num examples = 48\n", 4, "did not load model.visual.a and 1 more tensors of step 4"),
        ("  Num examples = 48,112\n", 4, "trains on 48112 rows, and 48 were checked"),
    ],
)
def test_a_run_on_other_rows_or_weights_is_ended(text: str, step: int, said: str | None, tmp_path: Path) -> None:
    log = tmp_path / "engine.log"
    log.write_text(text)
    info: Any = SimpleNamespace(rows=48, data="rows", settings={"engine": {}})
    if said is None:
        engine_log.started(log, info, step)
        return
    with pytest.raises(EngineError, match=said):
        engine_log.started(log, info, step)
