"""Rows and rewards of RL in the engine's own environment: as verl reads them, and as its reward workers score."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
from rl_engine import RECIPES, TINY, child
from support.called import virc
from support.engine_python import interpreter
from support.preflight import request

from virc.data.formats.registry import only_source
from virc.models.chat_protocol import read_protocol
from virc.reasoning.protocol import FILE_NAME
from virc.systems.registry import Reward
from virc.training.preflight import process as preflight
from virc.training.preflight.types import Result, RlRequest

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawn") / "rows"
    words = ("--count", 12, "--seed", 3, "--workers", 1, "--formats", "rl,prompts")
    assert virc("data", "synth", "--to", folder, *words).code == 0
    return folder


def looked_at(file: Path, folder: Path, **values: Any) -> Result:
    """What the process of the preflight finds, in the engine's interpreter."""
    asked = request(
        RlRequest, source=only_source(file), base=TINY, folder=folder, home=folder,
        chat_protocol=read_protocol(TINY / FILE_NAME), **values,
    )  # fmt: skip
    step = preflight.step(asked, interpreter("rl"), RECIPES)
    env = {name: value for name, value in step.env.items() if value}
    done = subprocess.run(step.argv, env=env, capture_output=True, text=True, check=True, cwd="/")
    return preflight.read_failure(done.stdout)


@pytest.mark.parametrize(
    ("file", "rollout", "total"),
    [("rl.parquet", "per_cru", "rules"), ("prompts.parquet", "multi_turn", "outcome")],
    ids=["per_cru", "multi_turn"],
)
def test_prompts_are_as_long_as_they_were_counted(
    file: str, rollout: str, total: str, rows: Path, tmp_path: Path
) -> None:
    found = looked_at(rows / file, tmp_path / "run", rollout=rollout, reward=Reward(total))
    ids = child("prompts_child.py", found.file, TINY, TINY / FILE_NAME, found.media, rollout)
    assert len(ids) == found.rows
    assert (sum(ids), max(ids)) == (found.total, found.longest)
