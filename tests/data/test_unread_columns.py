"""Columns that hold a part of a problem and that nothing reads are faults, unless they are to be ignored."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.public_layouts import lines, saved

from virc.core.errors import DataError
from virc.data.check.result import survey
from virc.data.check.row import check_without_images
from virc.data.check.run import CheckConfig, check
from virc.data.convert.convert import ConvertConfig, convert
from virc.data.formats.registry import get, only_source
from virc.data.rows.record import Picture, Record
from virc.data.rows.unread import KNOWN, unread
from virc.evaluation.benchmarks.registry import find

ROW: dict[str, Any] = {"id": 1, "image": "a.png", "question": "Which?", "answer": "red"}
COLUMNS = [
    ("options", ["red", "blue"], "choices"),
    ("correct_answer", "blue", "answers"),
    ("crop", "data:image/png;base64,AAAA", "pictures"),
    ("bbox", [1, 2, 3, 4], "boxes"),
    ("segmentation", [[1, 2]], "masks"),
    ("video", "a.mp4", "videos"),
    ("option_type", "open", None),
    ("gpt_answer", "It is blue.", "answers"),
    ("distractor1", "blue", "choices"),
    ("context", "Think first.  Which?", None),
    ("hints", [], None),
]


def rows(folder: Path, **columns: Any) -> Path:
    saved(folder, "a.png", 0)
    saved(folder, "b.png", 1)
    return lines(folder / "rows.jsonl", [ROW | columns, ROW | columns | {"id": 2}])


@pytest.mark.parametrize(("name", "value", "holds"), COLUMNS)
def test_what_a_column_holds_that_nothing_reads(name: str, value: Any, holds: str | None, tmp_path: Path) -> None:
    rows(tmp_path)
    row = ROW | {name: value}
    shown = (Picture("a.png", tmp_path),)
    record = Record(question="Which?", answer="red", images=shown, extra={"answers": ["red", "crimson"]})
    named = f"{name}.crop" if isinstance(value, dict) else name
    extra = {} if name == "direct_answers" else record.extra
    found = unread(row, KNOWN | ROW.keys(), msgspec.structs.replace(record, extra=extra), tmp_path)
    assert found == ({named: holds} if holds else {})


@pytest.mark.parametrize(
    "late",
    [
        {"hint": "It is a colour."}, {"prompt": "Count."}, {"options": ["red", "blue"]}, {"image_2": "b.png"},
        {"a": "red", "b": "blue"}, {"question2": "Why?"},
    ],
)  # fmt: skip
def test_a_column_that_only_later_rows_have_is_not_lost(late: dict[str, Any], tmp_path: Path) -> None:
    rows(tmp_path)
    file = lines(tmp_path / "late.jsonl", [ROW | {"id": at} | (late if at == 23 else {}) for at in range(1, 26)])
    with pytest.raises(DataError, match=f"^{file}, row 23: nothing reads its {next(iter(late))} "):
        convert(ConvertConfig([file], tmp_path / "to", "batch"))


@pytest.mark.parametrize(
    ("column", "hint"),
    [
({"bbox": [1, 2, 30, 40]}, "rename bbox to `boxes`"),
({"answer1": True}, "rename answer1 to `answer`"),
({"answer": [1, 2, 30, 40]}, "is boxes as `boxes`"),
],
)  # fmt: skip
def test_no_hint_drops_the_only_right_answer(column: dict[str, Any], hint: str, tmp_path: Path) -> None:
    rows(tmp_path)
    row = {name: value for name, value in ROW.items() if name not in ("answer", "answers")} | column
    file = lines(tmp_path / "rows.jsonl", [row])
    faults = list[str]()
    check(CheckConfig([file]), lambda fault: faults.append(fault.message))
    assert hint in "".join(faults)
    with pytest.raises(DataError, match="nothing reads its") as raised:
        find(str(file), tmp_path)
    assert hint in str(raised.value.hint)
    assert ("--ignore" in str(raised.value.hint)) == ("--ignore" in hint)


@pytest.mark.parametrize("skip", [True, False])
def test_rows_are_refused_unless_the_column_is_ignored(skip: bool, tmp_path: Path) -> None:
    file = rows(tmp_path, meta={"crop": "b.png", "by": "me"}, direct_answers=["red", "crimson"])
    with pytest.raises(DataError, match=r"meta.crop \(pictures\) and direct_answers \(answers\)") as raised:
        convert(ConvertConfig([file], tmp_path / "to", "batch", skip_faulty=skip))
    assert "--ignore meta.crop --ignore direct_answers" in str(raised.value.hint)
    assert f"virc data layout {file} proposes" in str(raised.value.hint)
    convert(ConvertConfig([file], tmp_path / "to", "batch", ignore=("meta.crop", "direct_answers")))
    (row, _) = map(json.loads, (tmp_path / "to" / "rows.jsonl").read_text().splitlines())
    assert row == ROW | {"meta": {"by": "me"}}
    assert not check(CheckConfig([tmp_path / "to"])).faults


@pytest.mark.parametrize("more", [{"bbox": [1, 2, 3, 4]}, {"label": False}, {"kto_tag": True}])
def test_training_refuses_what_it_would_lose(more: dict[str, Any], tmp_path: Path) -> None:
    row = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]} | more
    file = lines(tmp_path / "rows.jsonl", [row])
    found = survey(get("trajectories").read(only_source(file)), partial(check_without_images, holds="solutions"))
    assert dict(found.faults) == {"unread_column": 1}
