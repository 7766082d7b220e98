"""The estimate of a stage of RL, held against verl's own code."""

import json
import os
import subprocess
from pathlib import Path

import msgspec
import pytest
from cluster import ray_cluster

from virc.models import sizes as shape
from virc.stages.rl import Config
from virc.training.estimate.needs import GIB, estimate

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def copies() -> dict[str, float]:
    """Copies of the logits that verl holds in an update."""
    argv = [str(ray_cluster.python()), str(Path(__file__).with_name("verl_logits_child.py"))]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(argv, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found: dict[str, float] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("entropy", [False, True])
@pytest.mark.parametrize("precision", ["bf16", "float32"])
def test_logits_are_held_in_as_many_copies_as_in_verl(copies: dict[str, float], precision: str, entropy: bool) -> None:
    known = shape.published("Qwen/Qwen2.5-VL-3B-Instruct")
    assert known is not None
    config = msgspec.convert({"data": "x", "precision": precision, "entropy": 0.01 * entropy}, Config)
    terms = {term.name: term.gib for term in estimate(config, known, 8192).terms}
    one = (8192 + 512) * 151_936 * (2 if precision == "bf16" else 4) / GIB
    assert terms["logits"] / one == pytest.approx(copies[precision + "+entropy" * entropy], rel=0.01)
