"""`virc data check` calls the rows of a file good exactly where training starts with them."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from drawn_files import WORDS, Row, draw
from PIL import Image
from stage_rows import drawn
from support.called import virc
from support.preflight import in_this_process

SEEDS, BATCH, FIRST = 320, 8, 24


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return drawn(tmp_path_factory.mktemp("made") / "rows", "rl,prompts,sft").parent


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder to work in, where rows are checked in this process."""
    monkeypatch.chdir(tmp_path)
    in_this_process(monkeypatch)


def agree(file: Path, stage: str, words: Sequence[str]) -> int:
    """The exit code of a check of rows, and of a dry run that trains on them."""
    check = virc("data", "check", file, "--workers", 1)
    train = virc("train", "tiny", "--stage", stage, "--from", "tiny", "--dry-run", "--data", file, *words)
    said = (os.fspath(file), check.out, check.err, train.err)
    assert {check.code, train.code} <= {0, 5}, said
    assert check.code == train.code, said
    return check.code


@pytest.mark.parametrize(
    "seed", [pytest.param(first, marks=() if first < FIRST else pytest.mark.slow) for first in range(0, SEEDS, BATCH)]
)
def test_rows_are_good_where_training_starts(seed: int, made: Path, tmp_path: Path, here: None) -> None:
    for number in range(seed, seed + BATCH):
        agree(*draw(tmp_path / str(number), number, made))


@pytest.mark.parametrize(
    ("right", "code"),
    [
        ({"answer": "disk"}, 0),
        ({"box": [10, 20, 60, 70]}, 0),
        ({"boxes": [[10, 20, 60, 70], [0, 0, 224, 168]]}, 0),
        ({"answer": "seen", "box": [10, 20, 600, 70]}, 0),  # where it is seen
        ({"box": [10, 20, 600, 70]}, 5),
        ({"box": [100, 20, 30, 40]}, 5),
        ({"boxes": [[0.1, 0.2, 0.5, 0.6]]}, 5),
        ({"box": [60, 70]}, 5),
        ({"answer": "3.700000047683716"}, 5),
        ({"answer": "1", "choices": ["red", "blue"]}, 5),
        ({"answer": "B", "choices": ["red", "blue"]}, 0),
        ({"answer": None}, 5),
    ],
)
def test_right_answers_that_nothing_can_match_are_seen_by_both(
    right: Row, code: int, tmp_path: Path, here: None
) -> None:
    Image.radial_gradient("L").resize((224, 168)).save("a.png")
    rows = [{"id": number, "image": "a.png", "question": "What is it?", **right} for number in range(8)]
    Path("rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert agree(tmp_path / "rows.jsonl", "rl", (*WORDS["rl"], "--set", "reward.total=outcome")) == code
