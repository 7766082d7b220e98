"""`virc data check` calls the rows of a file good exactly where training starts with them.

But for problems without an answer, which it counts: they are good for `virc batch`, and no stage trains on them.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from drawn_files import WORDS, Row, draw, draw_late
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
    """The exit code of a check of rows, and of a dry run that trains on them: 5 too where rows have no answer."""
    check = virc("data", "check", file, "--workers", 1, "--json")
    train = virc("train", "tiny", "--stage", stage, "--from", "tiny", "--dry-run", "--data", file, *words)
    said = (os.fspath(file), check.out, check.err, train.err)
    assert {check.code, train.code} <= {0, 5}, said
    unanswered = any(each["counts"]["unanswered"] for each in check.json["datasets"] or ())
    assert train.code == (5 if unanswered else check.code), said
    return train.code


@pytest.mark.parametrize(
    "seed", [pytest.param(first, marks=() if first < FIRST else pytest.mark.slow) for first in range(0, SEEDS, BATCH)]
)
def test_rows_are_good_where_training_starts(seed: int, made: Path, tmp_path: Path, here: None) -> None:
    codes = {agree(*draw(tmp_path / str(number), number, made)) for number in range(seed, seed + BATCH)}
    assert codes == {0, 5}


@pytest.mark.parametrize("seeds", [(9, 10), pytest.param(range(9), marks=pytest.mark.slow),
                                   pytest.param(range(30, 40), marks=pytest.mark.slow)])  # fmt: skip
def test_rows_that_are_not_looked_at_closely_have_no_fault_either(
    seeds: Sequence[int], tmp_path: Path, here: None
) -> None:
    assert {agree(*draw_late(tmp_path / str(number), number)) for number in seeds} == {0, 5}


@pytest.mark.parametrize(
    ("right", "code"),
    [
        ({"answer": "disk"}, 0),
        ({"box": [10, 20, 60, 70]}, 0),
        ({"boxes": [[10, 20, 60, 70], [0, 0, 224, 168]]}, 0),
        ({"answer": "seen", "box": [10, 20, 60, 70]}, 0),  # where it is seen
        ({"answer": "seen", "box": [10, 20, 600, 70]}, 5),
        ({"answer": "seen", "looks": [[10, 20, 600, 70]]}, 0),
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


@pytest.mark.parametrize(("answers", "warned"), [
    ((None,) * 4, "4 problems have no answer"), (("disk", "disk", None, " "), "2 problems have no answer"),
    (("disk", "disk", "disk", None), "1 problem has no answer"), (("disk",) * 4, ""),
])  # fmt: skip
def test_questions_to_be_solved_are_good_and_not_trained_on(
    answers: Sequence[str | None], warned: str, tmp_path: Path, here: None
) -> None:
    Image.radial_gradient("L").resize((224, 168)).save("a.png")
    rows = [{"id": at, "image": "a.png", "question": "What is it?", "answer": it} for at, it in enumerate(answers)]
    Path("rows.jsonl").write_text(
        "\n".join(json.dumps({k: v for k, v in row.items() if v is not None}) for row in rows)
    )
    done = virc("data", "check", "rows.jsonl", "--workers", 1, "--clean", "kept")
    assert (done.code, "4 rows are in kept" in done.err) == (0, True), done.err
    assert (warned in done.err, "no answer" in done.err) == (True, bool(warned))
    small = ("--set", "train_batch_size=4", "--set", "ppo_mini_batch_size=4")
    assert agree(Path("rows.jsonl"), "rl", (*WORDS["rl"], *small)) == 5 * bool(warned)
    done = virc("eval", "rows.jsonl", "--model", "tiny", "--limit", 4)
    assert done.code == 5 * bool(warned), done.err
