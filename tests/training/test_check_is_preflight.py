"""`virc data check` calls the rows of a file good exactly where training starts with them."""

import os
from pathlib import Path

import msgspec
import pytest
from drawn_files import draw
from stage_rows import drawn
from support.called import virc

from virc.core.events import Reporter
from virc.training import prepare, preview
from virc.training.preflight import pairs, rl, sft
from virc.training.preflight.types import PairsRequest, Request, Result, RlRequest

SEEDS, BATCH, FIRST = 320, 8, 24


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return drawn(tmp_path_factory.mktemp("made") / "rows", "rl,prompts,sft").parent


def checked(asked: Request, python: Path, recipes: Path, report: Reporter) -> Result:
    """The check of the rows in this process."""
    if isinstance(asked, RlRequest):
        return rl.check(msgspec.structs.replace(asked, workers=1))
    asked = msgspec.structs.replace(asked, workers=1)
    return (pairs.check if isinstance(asked, PairsRequest) else sft.check)(asked)


@pytest.mark.parametrize(
    "seed", [pytest.param(first, marks=() if first < FIRST else pytest.mark.slow) for first in range(0, SEEDS, BATCH)]
)
def test_rows_are_good_where_training_starts(
    seed: int, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(prepare, "counted", checked)
    monkeypatch.setattr(preview, "_warn_of_reward", lambda *_: None)
    monkeypatch.setattr(preview.environments, "recipes_place", lambda environment: tmp_path / "code")
    for number in range(seed, seed + BATCH):
        file, stage, words = draw(tmp_path / str(number), number, made)
        check = virc("data", "check", file, "--workers", 1)
        train = virc("train", "tiny", "--stage", stage, "--from", "tiny", "--dry-run", "--data", file, *words)
        assert {check.code, train.code} <= {0, 5}, (number, check.err, train.err)
        assert check.code == train.code, (number, os.fspath(file), check.out, check.err, train.err)
