"""Each fault of a conversation, in a good set broken in exactly one way, is found, named and placed."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from checking import FILE, NAME, Rows, broken, good_set, report, write

Change = Callable[[Rows, Path], object]


def test_a_good_set_has_no_fault(tmp_path: Path) -> None:
    folder = good_set(tmp_path / "a")
    info = json.loads((folder / "dataset_info.json").read_text())
    write(folder / "dataset_info.json", {NAME: info[NAME] | {"split": "train"}})
    found = report(folder)
    assert found["faults"] == {}
    assert (found["rows"], found["good"], found["error"]) == (7, 7, None)


def content(rows: Rows, row: int, message: int, pattern: str, text: str) -> None:
    """Replace the one place where a pattern stands in a message."""
    of = rows[row]["messages"][message]
    of["content"], count = re.subn(pattern, lambda _: text, of["content"])
    assert count == 1


def whole_content(rows: Rows, row: int, message: int, text: str) -> None:
    rows[row]["messages"][message]["content"] = text


def image(rows: Rows, folder: Path, row: int, index: int) -> Path:
    return folder / rows[row]["images"][index]


def outside(rows: Rows, folder: Path) -> None:
    os.link(image(rows, folder, 0, 0), folder.parent / "x.png")
    rows[0]["images"][0] = "../x.png"


CALL = '<think>t</think><tool_call>{"name": "display_image", "arguments": {"image_index": 0}}</tool_call>'
BROKEN: list[tuple[str, str, int, Change]] = [
("no_messages", "drop such a row", 1, lambda rows, _: rows[0].update(messages=[], images=[])),
("roles", "message 3 is of user", 1, lambda rows, _: rows[0]["messages"][2].update(role="user")),
(
        "turn_mark", "message 5 holds <|im_end|>: LLaMA-Factory reads it as the token around a turn", 1,
        lambda rows, _: content(rows, 0, -1, "$", "<|im_end|>"),
    ),
("turn_mark", "message 2 holds <|endoftext|>", 1, lambda rows, _: content(rows, 0, 1, "$", " <|endoftext|>")),
("row", "message 3 holds <|image_pad|>, and no column", 1,
    lambda rows, _: content(rows, 0, 2, "</think>", "<|image_pad|></think>")),
("marks", "2 <image> marks for 1", 1, lambda rows, _: rows[0]["images"].pop()),
(
        "mark_misplaced", "message 5, of assistant, holds", 1,
        lambda rows, _: (content(rows, 0, -1, "$", "<image>"), rows[0]["images"].append(rows[0]["images"][0])),
    ),
("image_missing", "there is no file", 1, lambda rows, folder: image(rows, folder, 0, 0).unlink()),
("image_outside", "outside the dataset's folder", 1, outside),
("tags", "turn 1", 1, lambda rows, _: content(rows, 0, 2, "</think>", "")),
("json", "turn 1", 1, lambda rows, _: content(rows, 0, 2, '"name": ', '"name" ')),
(
        "answer_early", "turn 1 answers", 1,
        lambda rows, _: whole_content(rows, 0, 2, "<think>t</think><answer>1</answer>"),
    ),
("no_answer", "the last turn, 2", 1, lambda rows, _: whole_content(rows, 0, -1, CALL)),
("answer_differs", "the row's answer is 'no such'", 1, lambda rows, _: rows[0].update(answer="no such")),
("tool", "images are 0 to 0", 1, lambda rows, _: content(rows, 0, 2, '"image_index": 0', '"image_index": 1')),
("tool", "holds no pixel", 1, lambda rows, _: content(rows, 0, 2, r"\[.*\]", "[9, 9, 9, 20]")),
("factor_snapped", "none of those", 3, lambda rows, _: content(rows, 2, 2, "1.5", "1.6")),
(
        "result_differs", "the call of turn 1 makes 56 x 56 px, the image after it has ", 1,
        lambda rows, _: content(rows, 0, 2, r"\[.*\]", "[0, 0, 9, 9]")),
]  # fmt: skip


def test_a_solution_may_end_in_any_accepted_answer(tmp_path: Path) -> None:
    def other(rows: Any, folder: Path) -> None:
        given = rows[0]["messages"][-1]["content"].partition("<answer>")[2].partition("</answer>")[0].strip()
        rows[0].update(answers=["no such", given], answer="no such")

    assert report(broken(tmp_path / "a", other))["faults"] == {}


@pytest.mark.parametrize(("kind", "said", "row", "change"), BROKEN)
def test_one_fault_is_found_named_and_placed(tmp_path: Path, kind: str, said: str, row: int, change: Change) -> None:
    found = report(broken(tmp_path / "a", change))
    assert found["faults"] == {kind: 1}
    [first] = found["first"]
    assert said in first["message"]
    assert (first["row"], first["kind"], Path(first["file"]).name) == (row, kind, FILE)
    assert (found["rows"], found["good"]) == (7, 6)


INFO: list[tuple[str, str, dict[str, Any]]] = [
    ("formatting", "formatting openai makes LLaMA-Factory write 'detailed", {"formatting": "openai"}),
    ("columns", "name no images", {"columns": {"messages": "messages"}}),
    ("columns", "no columns are named", {"columns": None}),
    ("tags_unnamed", "tags name no user_tag: LLaMA-Factory drops every row", {"tags": {"user_tag": None}}),
    *(
        ("entry", f"{key} is named, so LLaMA-Factory does not read the file", {key: "who/what"})
        for key in ("hf_hub_url", "ms_hub_url", "cloud_file_name")
    ),
    ("entry", "num_samples makes LLaMA-Factory draw that many rows at random", {"num_samples": 0}),
]


def test_an_entry_needs_a_tag_of_system_messages_where_rows_have_some(tmp_path: Path) -> None:
    folder = good_set(tmp_path / "a")
    info = json.loads((folder / "dataset_info.json").read_text())
    del info[NAME]["tags"]["system_tag"]  # as in LLaMA-Factory's own entry for its demo
    write(folder / "dataset_info.json", info)
    found = report(folder)
    assert (found["faults"], "name no system_tag" in found["first"][0]["message"]) == ({"row": 7}, True)
    rows = json.loads((folder / FILE).read_text())
    plain = [{**row, "messages": [each for each in row["messages"] if each["role"] != "system"]} for row in rows]
    write(folder / FILE, plain)
    assert "tags_unnamed" not in report(folder)["faults"]


@pytest.mark.parametrize(("kind", "said", "entry"), INFO)
def test_what_an_entry_makes_of_all_rows_is_a_fault(
    tmp_path: Path, kind: str, said: str, entry: dict[str, Any]
) -> None:
    folder = good_set(tmp_path / "a")
    info = json.loads((folder / "dataset_info.json").read_text())
    for key, value in entry.items():
        info[NAME][key] = info[NAME][key] | value if key == "tags" else value
        if value is None:
            del info[NAME][key]
    write(folder / "dataset_info.json", info)
    found = report(folder)
    assert found["faults"][kind] == 1
    whole = [fault for fault in found["first"] if fault["row"] is None]
    assert [fault["kind"] for fault in whole] == [kind]
    assert said in whole[0]["message"]
