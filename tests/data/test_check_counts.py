"""What a check counts, names and keeps, recounted from its files; and the faults of rows that need no image opened."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from virc.core.errors import UsageError
from virc.data.check.row import check_without_images
from virc.data.check.run import CheckConfig, LocatedFault, Report, check
from virc.data.formats.registry import Holds, Row
from virc.data.rows.record import MARK, Message, Picture, Record

Said = tuple[Report, list[LocatedFault]]


def written(file: Path, *rows: tuple[int | str | None, int] | str) -> Path:
    """Problems by id and the number of their picture, of the folder of the file; a text is a line of its own."""
    file.parent.mkdir(exist_ok=True)
    for at in range(6):
        Image.new("RGB", (56, 56), (at * 9, 0, 0)).save(file.parent / f"{at}.png")
    asked = {"question": "How long is AB?", "answer": "5"}
    lines = [
        row if isinstance(row, str) else json.dumps({"id": row[0], "image": f"{row[1]}.png", **asked}) for row in rows
    ]
    file.write_text("".join(f"{line}\n" for line in lines))
    return file


def checked(*paths: Path, **more: Any) -> Said:
    """The report, whose sums are those of its parts, and the faults that were told."""
    told, rows = list[LocatedFault](), list[int]()
    report = check(CheckConfig(paths, **more), told.append, lambda found: rows.append(found.rows))
    assert rows == [*range(1, report.rows + 1)]
    assert report.rows == sum(each.rows for each in report.datasets)
    assert report.good == sum(each.good for each in report.datasets)
    most = more.get("first", 5)
    for name in ("faults", "stops"):
        assert getattr(report, name) == sum((Counter(getattr(each, name)) for each in report.datasets), Counter())
    told_of = Counter(each.kind for each in told)
    assert told_of == {kind: min(most, count) for kind, count in report.faults.items() if most}
    return report, told


def test_rows_without_faults_are_kept_and_nothing_else(tmp_path: Path) -> None:
    rows = written(tmp_path / "rows.jsonl", (1, 0), (1, 1), "{", (4, 2), (5, 4))
    other = written(tmp_path / "b" / "other.jsonl", ("a", 4))
    report, _ = checked(rows, against=[other], clean=tmp_path / "clean")
    kept = [json.loads(line) for line in (tmp_path / "clean" / "rows.jsonl").read_text().splitlines()]
    assert (report.kept, [row["id"] for row in kept]) == (2, [1, 4])
    checked(written(tmp_path / "bare.jsonl", (None, 0), "{", (None, 1)), clean=tmp_path / "numbered")
    numbered = (tmp_path / "numbered" / "bare.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in numbered] == ["bare-1", "bare-3"]
    assert sorted(each.name for each in (tmp_path / "clean").rglob("*") if each.is_file()) == [
        "0.png", "2.png", "rows.jsonl",
    ]  # fmt: skip
    with pytest.raises(UsageError):
        checked(rows, clean=tmp_path / "clean")
    twice = written(tmp_path / "b" / "ROWS.jsonl", (1, 0))
    with pytest.raises(UsageError, match="2 datasets would be called rows"):
        checked(rows, twice, clean=tmp_path / "c")
    assert checked(rows, twice)[0].rows == 6
    bad = written(tmp_path / "bad.jsonl", (1, 0), (1, 1), "{")
    assert checked(bad, clean=tmp_path / "one")[0].kept == 1
    written(tmp_path / "bad.jsonl", ("x", 0))
    assert checked(bad, against=[written(tmp_path / "b" / "test.jsonl", (1, 0))], clean=tmp_path / "none")[0].kept == 0
    assert not (tmp_path / "none").exists()


USER, REPLY = Message("user", f"{MARK}How long?"), Message("assistant", "<think>a</think><answer>5</answer>")
SYSTEM, HERE = Message("system", "You look."), Picture("", data=b"here")
DROPPED = "engines drop such a row, or stop"


def record(*messages: Message, images: int = 1, rejected: str | None = None, question: str | None = "How long?",
           answer: str | None = "5", **extra: Any) -> Record:  # fmt: skip
    return Record(messages, (HERE,) * images, 1, question, answer, extra, rejected=rejected)


@pytest.mark.parametrize(
    ("holds", "row", "faults"),
    [
("solutions", record(USER, REPLY), {}),
("solutions", record(SYSTEM, REPLY),
         {"roles": f"message 2 is of assistant, and user is due: {DROPPED}", "marks": "0"}),
("solutions", record(Message("system", MARK), USER, REPLY, images=2),
         {"mark_misplaced": f"message 1, of system, holds {MARK}: only users show images"}),
("prompts", record(USER, answer=" "), {"no_answer": "it has no answer to compare replies with"}),
("problems", record(images=0), {"no_image": "it has no image, and no tool"}),
("pairs", record(USER, REPLY, rejected="no"), {}),
("pairs", record(USER, Message("assistant", ""), rejected="a"), {"empty_side": "its chosen reply is empty"}),
*(("pairs", record(USER, REPLY, rejected="a", margin=fine), {}) for fine in (0, 1.5, None)),
],
)  # fmt: skip
def test_faults_that_training_stops_at_or_drops_rows_for(holds: Holds, row: Record, faults: dict[str, str]) -> None:
    found = {each.kind: each for each in check_without_images(Row(1, row), holds)}
    assert found.keys() == faults.keys()
    assert all(text in found[kind].message for kind, text in faults.items())
    assert all(each.stops == (kind != "no_question" or holds == "problems") for kind, each in found.items())
