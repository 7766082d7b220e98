"""`virc data check` calls the rows of a file good exactly where training starts with them."""

import os
from pathlib import Path

import pytest
from drawn_files import draw
from stage_rows import drawn
from support.called import virc
from support.preflight import in_this_process

SEEDS, BATCH, FIRST = 320, 8, 24


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return drawn(tmp_path_factory.mktemp("made") / "rows", "rl,prompts,sft").parent


@pytest.mark.parametrize(
    "seed", [pytest.param(first, marks=() if first < FIRST else pytest.mark.slow) for first in range(0, SEEDS, BATCH)]
)
def test_rows_are_good_where_training_starts(
    seed: int, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    in_this_process(monkeypatch)
    for number in range(seed, seed + BATCH):
        file, stage, words = draw(tmp_path / str(number), number, made)
        check = virc("data", "check", file, "--workers", 1)
        train = virc("train", "tiny", "--stage", stage, "--from", "tiny", "--dry-run", "--data", file, *words)
        assert {check.code, train.code} <= {0, 5}, (number, check.err, train.err)
        assert check.code == train.code, (number, os.fspath(file), check.out, check.err, train.err)
