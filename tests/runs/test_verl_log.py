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
KILLED = RECORDED.with_name("killed.txt")


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


@pytest.mark.parametrize("text", [b"", b'{"step": 4, "data": {"a"', b"[1]", b"\xff", b'{"step": "x", "data": {}}'])
def test_what_is_no_step_is_none(workspace: Path, text: bytes) -> None:
    assert reader(workspace)(text) is None


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


UNKNOWN_KEY = """Traceback (most recent call last):
    raise ConfigError(f"verl has no key {'.'.join(path)!r}", str(file))
virc.core.errors.ConfigError: verl has no key 'actor_rollout_ref.actor.x'
virc: ConfigError: verl has no key 'actor_rollout_ref.actor.x'
"""
WORKER = """\x1b[36m(WorkerDict pid=23647)\x1b[0m UserWarning: no megatron: ModuleNotFoundError("No module")
ray.exceptions.RayTaskError(AttributeError): \x1b[36mray::TaskRunnerV1.run()\x1b[39m (pid=23310, repr=<Runner at 0x7f>)
    data["extra_fields"].tolist(),
    ^^^^^^^^^^^^^^^^^^^^^^^^^^^
AttributeError: 'LinkedList' object has no attribute 'tolist'
virc: AttributeError: 'LinkedList' object has no attribute 'tolist'
"""
JUDGE = """\x1b[36m(AgentLoop pid=5)\x1b[0m ERROR:Error in _run_prompt for uid=2c
\x1b[36m(AgentLoop pid=5)\x1b[0m ray.exceptions.RayTaskError(NetworkError): ray::compute_score() (pid=7)
\x1b[36m(AgentLoop pid=5)\x1b[0m virc.core.errors.NetworkError: the judge at http://x/v1 does not answer
RuntimeError: a rollout or its reward failed: NetworkError: the judge at http://x/v1 does not answer
virc: RuntimeError: a rollout or its reward failed: NetworkError: the judge at http://x/v1 does not answer
"""
VLLM = """(EngineCore pid=77) ERROR 11-20 22:50:01 [core.py:893] ValueError: No available memory for the cache blocks.
RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}
virc: RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}
"""
DIED = "ray.exceptions.ActorDiedError: The actor died unexpectedly before finishing this task.\n"
FULL = f"{DIED}virc: EngineError: Ray ended its actor (process 5 on 10.0.0.1) since the main memory was full\n"
BUSY = "OSError: [Errno 98] Address already in use\nValueError: no worker is left\n"


NOT_FINITE = """ray.exceptions.RayTaskError(FloatingPointError): ray::WorkerDict.actor_rollout_save_checkpoint() (pid=7)
    check_finite(self.module, global_step)
FloatingPointError: the weight a.b is not finite after step 4
virc: FloatingPointError: the weight a.b is not finite after step 4
"""


@pytest.mark.parametrize(
    ("text", "said", "hinted"),
    [
        (UNKNOWN_KEY, "verl has no key 'actor_rollout_ref.actor.x'", None),
        (WORKER, "AttributeError: 'LinkedList' object has no attribute 'tolist'", None),
        (JUDGE, "the judge at http://x/v1 does not answer", "see that the judge answers"),
        (VLLM, "vLLM has no memory left for its cache", "sampler_memory"),
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to", "a GPU ran out of memory", "micro_batch"),
        ("ray.exceptions.OutOfMemoryError: Task was killed", "the main memory was full", "smaller batches"),
        ("ValueError: Total available GPUs 2 is less than total desired GPUs 4", "too few GPUs", "devices"),
        ("OSError: [Errno 28] No space left on device", "the disk is full", "keep"),
        (DIED, "one of its processes was killed", "memory"),
        (BUSY, "a port that it needs is taken", "start it again"),
        (FULL, "Ray ended its actor (process 5 on 10.0.0.1) since the main memory was full", "smaller batches"),
        (NOT_FINITE, "training diverged: the weight a.b is not finite after step 4", "learning_rate"),
        ("\x1b[36m(WorkerDict pid=7)\x1b[0m ValueError: an odd batch\nand more", "ValueError: an odd batch", None),
        ("", "no output", None),
    ],
)  # fmt: skip
def test_the_reason_of_a_failure_is_found_in_the_noise(
    tmp_path: Path, text: str, said: str, hinted: str | None
) -> None:
    log = tmp_path / "engine.log"
    noise = "(TaskRunner pid=1) INFO: address already in use is no error here\n" * 50
    log.write_text("$ python -m virc.engines.verl.start engine.yaml\n" + (noise if text else "") + text)
    clause, hint = verl_log.cause(log, 1)
    assert said in clause
    assert "\n" not in clause
    assert hint is None if hinted is None else hinted in (hint or "")


def test_a_process_that_was_killed_is_said_to_be(tmp_path: Path) -> None:
    (log := tmp_path / "engine.log").write_text("loading\n")
    assert "killed" in verl_log.cause(log, -9)[0]
    assert verl_log.cause(KILLED, 1)[0] == "one of its processes was killed, perhaps for want of memory"
