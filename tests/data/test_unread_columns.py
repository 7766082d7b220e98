"""Columns that hold a part of a problem and that nothing reads are faults, unless they are to be ignored."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.public_layouts import lines, saved, talk

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
    ("option_a", "red", "choices"),
    ("candidate_labels", ["red", "blue"], "choices"),
    ("answers", ["red", "crimson"], None),
    ("direct_answers", ["red", "crimson"], "answers"),
    ("correct_answer", "blue", "answers"),
    ("gt_answer", "red", None),
    ("solution", "It is red.", None),
    ("crop", "b.png", "pictures"),
    ("crop", "gone.png", None),
    ("crop", "data:image/png;base64,AAAA", "pictures"),
    ("parts", "['gone.png', 'b.png']", "pictures"),
    ("conversations", [{"from": "human", "value": "Which?"}], None),
    ("Given Options", ["red", "blue"], "choices"),
    ("meta", {"crop": "b.png"}, "pictures"),
    ("bbox", [1, 2, 3, 4], "boxes"),
    ("bbox", "[1, 2, 3, 4]", "boxes"),
    ("bbox", "none", None),
    ("boxes", [[1, 2, 3, 4]], None),
    ("mask", "b.png", "masks"),
    ("segmentation", [[1, 2]], "masks"),
    ("reasoning_q", "Why?", "questions"),
    ("reasoning_q", "Which?", None),
    ("turns", [{"question": "Why?"}], "questions"),
    ("anything", [{"question": "Why?", "reply": "So"}], "questions"),
    ("video", "a.mp4", "videos"),
    ("labels", [{"text": "x", "box": [1, 2, 3, 4]}], None),
    ("question_type", "open", None),
    ("multi-choice options", "['(A) red', '(B) blue']", "choices"),
    ("offered", ["A. red", "B. blue"], "choices"),
    ("option_type", "open", None),
    ("answer_2", "crimson and blue", "answers"),
    ("final_answer", [{"text": "blue", "bbox": [1, 2, 3, 4]}], "answers"),
    ("target_instances", "[[1, 2, 3, 4]]", "boxes"),
    ("explanation", "So.", None),
    ("gpt_answer", "It is blue.", "answers"),
    ("rejected_response", "It is blue.", "replies"),
    ("rejected_messages", [{"role": "assistant", "content": "blue"}], "replies"),
    ("completion", [{"role": "assistant", "content": "blue"}], "replies"),
    ("option_labels", ["A", "B"], None),
    ("distractor1", "blue", "choices"),
    ("incorrect_answers", ["blue"], "choices"),
    ("a0", "blue", "choices"),
    ("prompt", "Count those on the left.", "a text that belongs to the question"),
    ("Hint", "It is a colour.", "a text that belongs to the question"),
    ("context", "Think first.  Which?", None),
    ("instruction", "", None),
    ("problem", ["Count."], None),
    ("hints", "It is a colour.", "a text that belongs to the question"),
    ("contexts", ["It is", "a colour."], "a text that belongs to the question"),
    ("hints", [], None),
    ("background", "It is a colour.", "a text that belongs to the question"),
    ("instructions", "Count.", "a text that belongs to the question"),
    ("description", "It is a colour.", None),
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


def test_what_stands_beside_a_part_that_is_read_is_found_in_lists(tmp_path: Path) -> None:
    rows(tmp_path)
    row = {"talk": [{"value": "Which?", "crop": "b.png"}], "mask": "gone.png", "figure": "gone.png"}
    found = unread(row, {"talk.0.value"}, Record(question="Which?", answer="red"), tmp_path)
    assert found == {"talk.0.crop": "pictures", "mask": "masks", "figure": "pictures"}


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


def test_several_answers_that_only_later_rows_have_are_not_taken_as_right(tmp_path: Path) -> None:
    rows(tmp_path)
    content = [{**ROW, "id": at, "answer": ["red"] if at < 23 else ["red", "blue"]} for at in range(1, 26)]
    with pytest.raises(DataError, match="row 23: its answer, column answer, is a list of 2 texts"):
        convert(ConvertConfig([lines(tmp_path / "late.jsonl", content)], tmp_path / "to", "batch"))


def test_a_path_that_is_not_there_is_missed_where_a_row_has_no_picture(tmp_path: Path) -> None:
    row = {"question": "Which?", "answer": "red", "figure": "gone.png"}
    assert unread(row, {"question", "answer"}, Record(question="Which?", answer="red"), tmp_path) == {
        "figure": "pictures"
    }


def test_columns_that_nothing_reads_are_counted(tmp_path: Path) -> None:
    faults = list[str]()
    report = check(CheckConfig([rows(tmp_path, mask="b.png")]), lambda fault: faults.append(fault.message))
    assert (report.datasets[0].unread_columns, report.good) == ({"mask": 2}, 0)
    assert faults == ["nothing reads its column mask, which holds masks (--ignore mask leaves it out)"] * 2


@pytest.mark.parametrize(
    ("column", "hint"),
    [
        ({"bbox": [1, 2, 30, 40]}, "rename bbox to `boxes`"), ({"gt_box": [[1, 2, 3, 4]]}, "rename gt_box to `boxes`"),
        ({"gt_answers": [["a"]]}, "rename gt_answers to `answer`"), ({"answer1": True}, "rename answer1 to `answer`"),
        ({"answer": ["cat", "kitty"]}, "as `answers`"), ({"answer": True}, "true and false as yes and no"),
        ({"answer": [1, 2, 30, 40]}, "is boxes as `boxes`"), ({"gold": "a", "mask": "b.png"}, "--ignore mask"),
        ({"answer": "red", "bbox": [1, 2, 30, 40]}, "--ignore bbox"),
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


def test_pictures_of_llava_rows_are_read_where_they_are(tmp_path: Path) -> None:
    content = [{"image": saved(tmp_path, "a.png", 0), "conversations": talk(0)}, {"conversations": talk(1, "")}]
    (tmp_path / "rows.json").write_text(json.dumps(content))
    assert only_source(tmp_path / "rows.json").format == "sft"
    convert(ConvertConfig([tmp_path / "rows.json"], tmp_path / "to", "sft"))
    written = json.loads((tmp_path / "to" / "rows.json").read_text())
    assert [row["images"] for row in written] == [["a.png"], []]


def test_rows_with_an_id_may_have_the_number_of_a_choice_as_their_answer(tmp_path: Path) -> None:
    rows(tmp_path)
    content = [ROW | {"id": at, "answer": at, "choices": ["red", "green", "blue"]} for at in range(3)]
    convert(ConvertConfig([lines(tmp_path / "rows.jsonl", content)], tmp_path / "to", "batch"))
    made = map(json.loads, (tmp_path / "to" / "rows.jsonl").read_text().splitlines())
    assert [row["answer"] for row in made] == ["red", "green", "blue"]


def test_an_answer_that_is_no_choice_is_not_written(tmp_path: Path) -> None:
    file = rows(tmp_path, choices=["blue", "green"])
    with pytest.raises(DataError, match="'red' is none of its choices"):
        convert(ConvertConfig([file], tmp_path / "to", "batch"))


def test_a_conversation_without_a_mark_is_not_written(tmp_path: Path) -> None:
    named = {
        "rows": {
            "file_name": "r.json",
            "formatting": "sharegpt",
            "columns": {"messages": "conversations", "images": "image"},
        }
    }
    content = [{"image": saved(tmp_path, "a.png", 0), "conversations": talk(0, "")}]
    (tmp_path / "r.json").write_text(json.dumps(content))
    (tmp_path / "dataset_info.json").write_text(json.dumps(named))
    with pytest.raises(DataError, match="0 <image> marks, and it has 1 image"):
        convert(ConvertConfig([tmp_path / "r.json"], tmp_path / "to", "sft"))


@pytest.mark.parametrize("more", [{"bbox": [1, 2, 3, 4]}, {"label": False}, {"kto_tag": True}])
def test_training_refuses_what_it_would_lose(more: dict[str, Any], tmp_path: Path) -> None:
    row = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]} | more
    file = lines(tmp_path / "rows.jsonl", [row])
    found = survey(get("trajectories").read(only_source(file)), partial(check_without_images, holds="solutions"))
    assert dict(found.faults) == {"unread_column": 1}


PLAIN = "<SUMMARY> I look. </SUMMARY> <CONCLUSION> red </CONCLUSION>"


@pytest.mark.parametrize(
    ("replies", "faults"),
    [
        ([PLAIN, "It is red."], {}),
        ([PLAIN, "<think>I look.</think><answer>red</answer>"], {"tags": 1}),
        ([PLAIN, "<answer>red</answer>"], {"tags": 2}),
        ([PLAIN, "<tool_call>crop</tool_call>"], {"tags": 2, "chat_protocol": 1}),
    ],
)
def test_replies_need_no_marks_where_none_has_any(replies: list[str], faults: dict[str, int], tmp_path: Path) -> None:
    content = [{"image": saved(tmp_path, "a.png", 0), "conversations": talk(0, reply=reply)} for reply in replies]
    (tmp_path / "rows.json").write_text(json.dumps(content))
    assert check(CheckConfig([tmp_path / "rows.json"])).faults == faults


def test_pictures_beside_the_folder_of_rows_are_named_with_a_link(tmp_path: Path) -> None:
    saved(tmp_path, "val2017/1.jpg", 0)
    (tmp_path / "annotations").mkdir()
    file = lines(tmp_path / "annotations" / "rows.jsonl", [{"file_name": "1.jpg", "query": "Which?", "label": "red"}])
    with pytest.raises(DataError, match=r"\(ln -s \.\./val2017 .*/annotations/ puts it there\)"):
        only_source(file)
