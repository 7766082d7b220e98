"""Pairs of a better and a worse reply: they are checked, shown, and converted from and to what others publish."""

import json
from pathlib import Path
from typing import Any

import pytest
from support import published_pairs
from support.called import virc
from support.published import writer
from support.row_files import NUMBERS, picture

Row = dict[str, Any]


def pair(at: int = 0, **changes: Any) -> Row:
    """A good row, with some of its columns changed."""
    row = {
        "id": f"p{at}",
        "messages": [{"role": "user", "content": "<image>Which number?"}],
        "chosen": {"role": "assistant", "content": "It is 12."},
        "rejected": {"role": "assistant", "content": "It is 3."},
        "images": ["a.png"],
        "margin": 0.5,
    }
    return row | changes


def rows(folder: Path, *written: Row) -> Path:
    picture(0).save(folder / "a.png")
    file = folder / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in written))
    return file


@pytest.mark.parametrize("name", published_pairs.NAMES)
def test_published_pairs_are_checked_and_converted(name: str, tmp_path: Path) -> None:
    file, to = writer(name)(tmp_path), tmp_path / "to"
    done = virc("data", "check", file, "--workers", 1)
    assert done.code == 0, done.out + done.err
    done = virc("data", "convert", file, "--to", to, "--format", "pairs")
    assert done.code == 0, done.err
    (made,) = to.glob("*.jsonl")
    found = [json.loads(line) for line in made.read_text().splitlines()]
    step = name == "visrl"
    for at, row in enumerate(found):
        assert [turn["role"] for turn in row["messages"]][-1] == "user"
        assert row["messages"][-1]["content"].count("<image>") == 1
        assert published_pairs.QUESTION in row["messages"][-1]["content"]
        better = "[0.1, 0.1, 0.4, 0.5]" if step else f"It says {NUMBERS[at]}."
        worse = "[0.7, 0.7, 0.9, 0.9]" if step else "It says 3."
        assert row["chosen"] == {"role": "assistant", "content": better}
        assert row["rejected"] == {"role": "assistant", "content": worse}
        assert (to / row["images"][0]).is_file()
    assert len(found) == 3
    assert virc("data", "check", to, "--workers", 1).code == 0


FAULTS = {
    "marks": (pair(images=[]), "1 <image> marks for 0 images"),
    "equal_sides": (pair(rejected=pair()["chosen"]), "are the same"),
    "margin": (pair(margin=-1), "its margin is -1"),
    "roles": (pair(messages=[pair()["messages"][0], pair()["messages"][0]], images=["a.png"] * 2), "is of user"),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_each_fault_is_named_with_its_row(kind: str, tmp_path: Path) -> None:
    row, sentence = FAULTS[kind]
    done = virc("data", "check", rows(tmp_path, pair(0), row | {"id": "p1"}), "--workers", 1)
    assert done.code == 5
    assert f"rows.jsonl:2: {kind}: " in done.out
    assert sentence in done.out
    assert "2 rows, 1 good" in done.out


def test_pairs_come_back_from_a_conversion_as_they_were(tmp_path: Path) -> None:
    file, to = rows(tmp_path, pair(0), pair(1, margin=None, level="hard")), tmp_path / "to"
    assert virc("data", "convert", file, "--to", to, "--format", "pairs").code == 0
    assert (to / "rows.jsonl").read_text().splitlines() == [
        json.dumps(row, separators=(",", ":")) for row in (pair(0), pair(1, margin=None, level="hard"))
    ]
