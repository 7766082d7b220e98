"""What a check counts, names and keeps, recounted from its files; and the faults of rows that need no image opened."""

import json
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from virc.core.errors import DataError, UnreadError, UsageError
from virc.data.check.result import Counts, Fault, RowResult, Survey
from virc.data.check.row import check_without_images
from virc.data.check.run import CheckConfig, DatasetReport, LocatedFault, Report, check, key_of
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


def test_repeated_ids_and_pictures_that_are_held_out(tmp_path: Path) -> None:
    train = written(tmp_path / "train.jsonl", (1, 0), (2, 1), (2, 2), (4, 3), (5, 4), (2, 1))
    test = written(tmp_path / "test.jsonl", (1, 1), (2, 5), (3, 1))
    other = written(tmp_path / "b" / "other.jsonl", ("a", 4))
    report, told = checked(train)
    assert [(each.name, each.held_out, each.rows, each.good, each.counts.images) for each in report.datasets] == [
        ("train", False, 6, 4, 6)
    ]
    assert told == [
        LocatedFault(str(train), row, 2, "duplicate_id", "row 2 has the same id", stops=False) for row in (3, 6)
    ]
    assert (report.faults, report.stops) == ({"duplicate_id": 2}, {})
    assert report.summary == "2 of 6 rows have faults"
    report, told = checked(train, test)  # the name says that it is held out: it is read first
    assert [(each.name, each.held_out, each.good) for each in report.datasets] == [
        ("test", True, 3),
        ("train", False, 3),
    ]
    leaks = [each for each in told if each.kind == "leak"]
    assert leaks == [
        LocatedFault(str(train), row, 2, "leak", "an input of it is held out: test, row 1") for row in (2, 6)
    ]
    assert (report.faults, report.stops) == ({"duplicate_id": 2, "leak": 2}, {"leak": 2})
    report, told = checked(train, against=[other])
    assert [(each.name, each.held_out) for each in report.datasets] == [("other", True), ("train", False)]
    assert [(each.row, each.message) for each in told if each.kind == "leak"] == [
        (5, "an input of it is held out: other, row 1")
    ]
    report, _ = checked(test)  # alone, nothing is trained on that it could be held out of
    assert (report.datasets[0].held_out, report.faults) == (False, {})
    report, _ = checked(train, against=[test, other])
    assert report.stops == {"leak": 3}


@pytest.mark.parametrize("first", [0, 1, 5])
def test_the_first_faults_are_told_and_all_are_counted(first: int, tmp_path: Path) -> None:
    rows = written(tmp_path / "rows.jsonl", *((1, at % 6) for at in range(8)), "{", "{", "{", "{", "{", "{")
    report, told = checked(rows, first=first)
    assert (report.rows, report.good, report.faults) == (14, 1, {"duplicate_id": 7, "row": 6})
    assert [each.row for each in told if each.kind == "row"] == [*range(9, 9 + min(first, 6))]
    assert report.datasets[0].stops == {"row": 6}


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


def test_a_file_without_rows_is_refused(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("\n")
    with pytest.raises(DataError):
        checked(tmp_path / "rows.jsonl")


def report_of(**fields: Any) -> DatasetReport:
    return DatasetReport("rows", "rows.json", "sft", None, held_out=False, coordinates="pixel", why="", **fields)


@pytest.mark.parametrize(
    ("cuts", "left"),
    [
        ([], None), ([(3, 0)], None), ([(3, None)], "the rows behind row 3 of rows.json were not read"),
        ([(3, 1)], "1 row behind row 3 of rows.json was not read"),
        ([(1, 2)], "2 rows behind row 1 of rows.json were not read"),
        ([(3, 4), (9, 5)], "9 rows behind row 3 of rows.json were not read"),
        ([(3, 4), (9, None), (11, 5)], "the rows behind row 3 of rows.json were not read"),
    ],
)  # fmt: skip
def test_rows_that_were_not_read_are_counted_where_that_can_be(
    cuts: Sequence[tuple[int, int | None]], left: str | None
) -> None:
    found = report_of()
    for number, rows in cuts:
        found.cut_short(number, UnreadError("it ends", rows=rows))
    assert found.left_unread == left
    assert Report([found, report_of(rows=3, good=1), found]).left_unread == [left, left] * bool(left)
    summary = Report([report_of(rows=3, good=2), found]).summary
    assert summary == "; ".join(["1 of 3 rows has faults", *([left] if left else [])])
    assert Report([report_of(rows=3, good=3)]).summary == "no row has a fault, but a file as a whole has"


def test_system_messages_and_keys_are_told_apart_up_to_a_number() -> None:
    """A hundred chat protocols and twenty keys, and how many rows have others."""
    found = report_of()
    for at in range(205):
        found.add(RowResult(at + 1, system=f"system {at % 102}"), [Fault("tags", "", stops=at % 2 == 0)] * (at % 3))
        found.add_ignored([f"key {at % 22}", "also"])
    assert (found.rows, found.good) == (205, 69)
    assert (found.faults, found.stops) == ({"tags": 68 + 2 * 68}, {"tags": 34 + 2 * 34})
    assert [(each.rows, each.first) for each in found.chat_protocols] == [(3, 1)] + [(2, at) for at in range(2, 101)]
    assert found.more_chat_protocols == 4
    assert len({each.sha256 for each in found.chat_protocols}) == 100
    assert found.ignored == {"key 0": 10, "also": 205} | {f"key {at}": 10 if at < 7 else 9 for at in range(1, 19)}
    assert found.more_ignored == sum(at % 22 > 18 for at in range(205))


def test_counts_add_up_field_by_field() -> None:
    numbers = dict(zip(Counts.__struct_fields__, range(1, 20), strict=False))
    assert Counts(**numbers) + Counts(images=10) == Counts(**{**numbers, "images": 11})
    several = Report([report_of(faults={"b": 1, "c": 1}), report_of(faults={"c": 1, "a": 1})])
    assert [*several.faults.items()] == [("c", 2), ("a", 1), ("b", 1)]  # the commonest first
    assert len({key_of("a", "bc"), key_of("ab", "c"), key_of("abc")}) == 3


def test_a_survey_keeps_rows_of_all_of_a_file_and_the_first_that_are_wrong() -> None:
    found = Survey()
    said = {
        3: [Fault("tags", "a", stops=False), Fault("roles", "b"), Fault("marks", "c")],
        4: [Fault("tags", "a", stops=False)],
    }
    for number in range(1, 2001):
        system = (Message("system", "You look."),) if number % 2 else ()
        record = Record((*system, Message("user", MARK)), (Picture("a.png"),)) if number != 7 else None
        found.add(Row(number, record), said.get(number, [Fault("roles", "x")] if number > 1990 else []))
    assert (found.rows, found.images, found.faulty) == (2000, 1999, 11)
    assert (found.faults, found.doubts) == ({"roles": 11, "marks": 1}, {"tags": 2})
    assert [(number, fault.message) for number, fault in found.wrong] == [
        (3, "b"), (1991, "x"), (1992, "x"), (1993, "x"), (1994, "x"),
    ]  # fmt: skip
    kept = [row.number for row in found.kept]
    assert kept[:32] == [*range(1, 33)]
    assert kept[-1] == 2000
    steps = {later - before for before, later in pairwise(kept[40:-1])}
    assert steps == {8}
    assert 200 <= len(kept) <= 32 + 400 + 1
    assert [row.number for row in found.whole] == [each for each in kept if each not in (3, 4) and each <= 1990]
    assert (found.with_system("You look."), found.with_system("You are a helpful assistant.")) == (999, 1000)


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
        ("solutions", record(SYSTEM, USER, REPLY, question=None, answer=None), {}),
        ("solutions", record(), {"no_messages": f"it has no messages: {DROPPED}"}),
        ("solutions", record(SYSTEM, USER), {"end": f"it ends with a message of user, not assistant: {DROPPED}"}),
        ("solutions", record(SYSTEM, REPLY),
         {"roles": f"message 2 is of assistant, and user is due: {DROPPED}", "marks": "0"}),
        ("solutions", record(USER, REPLY, REPLY),
         {"roles": f"message 3 is of assistant, and user is due: {DROPPED}"}),
        ("solutions", record(USER, REPLY, images=2), {"marks": f"1 {MARK} marks for 2 images: the engine stops at it"}),
        ("solutions", record(USER, REPLY, images=0), {"marks": f"1 {MARK} marks for 0 images"}),
        ("solutions", record(Message("system", MARK), USER, REPLY, images=2),
         {"mark_misplaced": f"message 1, of system, holds {MARK}: only users show images"}),
        ("prompts", record(USER), {}), ("prompts", record(SYSTEM, USER), {}),
        ("prompts", record(USER, question=" "), {"no_question": "its question is not known by itself"}),
        ("prompts", record(USER, answer=" "), {"no_answer": "it has no answer to compare replies with"}),
        ("prompts", record(USER, answer=None, box=[0, 0, 1, 1]), {}),
        ("prompts", record(USER, answer=None, boxes=[]), {}),
        ("problems", record(), {}), ("problems", record(images=0), {"no_image": "it has no image, and no tool"}),
        ("problems", record(question=None), {"no_question": "its question is not known by itself"}),
        ("problems", record(answer=None), {"no_answer": ""}),
        ("problems", record(answer="9", choices=["1", "2"]), {"answer_not_offered": ""}),
        ("pairs", record(USER, REPLY, rejected="no"), {}),
        ("pairs", record(USER, REPLY), {"no_messages": f"it has not both replies: {DROPPED}"}),
        ("pairs", record(rejected="no"), {"no_messages": f"it has not both replies: {DROPPED}"}),
        ("pairs", record(USER, REPLY, rejected=" "), {"empty_side": "its rejected reply is empty"}),
        ("pairs", record(USER, Message("assistant", ""), rejected="a"), {"empty_side": "its chosen reply is empty"}),
        ("pairs", record(USER, REPLY, rejected=MARK), {"side_image": f"its rejected reply holds {MARK}"}),
        ("pairs", record(USER, REPLY, rejected=REPLY.content), {"equal_sides": "its chosen and its rejected reply"}),
        ("pairs", record(USER, REPLY, REPLY, rejected="a"),
         {"end": f"its messages end with one of assistant, not user, before the two replies: {DROPPED}"}),
        *(("pairs", record(USER, REPLY, rejected="a", margin=fine), {}) for fine in (0, 1.5, None)),
        *(("pairs", record(USER, REPLY, rejected="a", margin=bad), {"margin": "not a finite number of at least 0"})
          for bad in (-0.1, float("inf"), float("nan"), "1", True)),
    ],
)  # fmt: skip
def test_faults_that_training_stops_at_or_drops_rows_for(holds: Holds, row: Record, faults: dict[str, str]) -> None:
    found = {each.kind: each for each in check_without_images(Row(1, row), holds)}
    assert found.keys() == faults.keys()
    assert all(text in found[kind].message for kind, text in faults.items())
    assert all(each.stops == (kind != "no_question" or holds == "problems") for kind, each in found.items())


def test_rows_of_flaws_columns_and_pictures_that_are_not_there(tmp_path: Path) -> None:
    gone = (Picture("gone.png", tmp_path),)
    row = Row(3, Record((USER, REPLY), gone), flaws=("it is odd",), unread={"hint me": "texts"})
    stops = {
        holds: {each.kind: each.stops for each in check_without_images(row, holds)}
        for holds in ("solutions", "prompts")
    }
    assert stops["solutions"] == {"row": True, "unread_column": True, "image_missing": True}
    assert stops["prompts"] == {
        "row": False, "unread_column": True, "no_question": False, "no_answer": True,
        "image_missing": True,
    }  # fmt: skip
    said = {each.kind: each.message for each in check_without_images(row, "solutions")}
    assert said["image_missing"] == "there is no file gone.png"
    assert said["unread_column"] == (
        "nothing reads its column hint me, which holds texts (--ignore 'hint me' leaves it out)"
    )
    (bare,) = check_without_images(Row(3, fault=DataError("row 3: it is not JSON")), "solutions")
    (cut,) = check_without_images(Row(3, fault=UnreadError("line 30: it ends")), "solutions")
    assert [(each.kind, each.message) for each in (bare, cut)] == [
        ("row", "it is not JSON"),
        ("unread", "line 30: it ends"),
    ]
