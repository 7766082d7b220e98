"""Rows in the layouts of others are answered and evaluated as they were published, without a conversion."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.called import virc
from support.published import writer
from support.row_files import array, embedded, lines, parquet, png, save_to_disk, saved
from support.servers import serve

ASKED = "<image>What is it?"
TALK = [{"role": "user", "content": ASKED}, {"role": "assistant", "content": "red"}]
OF_VERL = {
    "data_source": "v",
    "prompt": TALK[:1],
    "ability": "see",
    "reward_model": {"style": "rule", "ground_truth": "red"},
}
PROBLEM = {"image": {"bytes": png(0), "path": None}, "question": "What is it?", "answer": "red"}
BOXES = {
    "images": [{"id": 1, "file_name": "a.png"}],
    "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
    "annotations": [{"image_id": 1, "category_id": at, "bbox": [at, 1, 8, 9]} for at in (1, 2)],
}


def described(folder: Path) -> Path:
    """A folder whose `dataset_info.json` says what the columns are."""
    columns = {"messages": "talk", "images": "pictures"}
    tags = {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"}
    entry = {"file_name": "rows.json", "formatting": "sharegpt", "columns": columns, "tags": tags}
    array(folder / "dataset_info.json", {"mine": entry})
    array(folder / "rows.json", [{"talk": TALK, "pictures": ["a.png"]}])
    return folder


LAYOUTS: dict[str, tuple[Callable[[Path], Path], list[str]]] = {
    "COCO": (lambda at: array(at / "a.json", BOXES), ["Where is each cat?", "Where is each dog?"]),
    "Arrow": (
        lambda at: next(save_to_disk(at / "a", [PROBLEM]).rglob("*.arrow")).rename(at / "a.arrow"),
        ["What is it?"],
    ),
    "save_to_disk": (lambda at: save_to_disk(at / "a", [PROBLEM]), ["What is it?"]),
    "alpaca": (
        lambda at: array(
            at / "a.json", [{"instruction": ASKED, "input": "Of two.", "output": "red", "images": ["a.png"]}]
        ),
        ["What is it?\nOf two."],
    ),
    "ms-swift": (lambda at: lines(at / "a.jsonl", [{"messages": TALK, "images": ["a.png"]}] * 2), ["What is it?"] * 2),
    "verl": (lambda at: parquet(at / "a.parquet", [{**OF_VERL, "images": [embedded(0)]}]), ["What is it?"]),
    "dataset_info.json": (described, ["What is it?"]),
    "pairs": (writer("trl"), []),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_published_rows_are_answered_and_evaluated_as_they_are(layout: str, tmp_path: Path) -> None:
    write, questions = LAYOUTS[layout]
    (tmp_path / "in").mkdir()
    saved(tmp_path / "in", "a.png", 0)
    file, asking = write(tmp_path / "in"), ("--family", "qwen3-vl", "--endpoint")
    with serve(["<answer>red</answer>"], models=["qwen3-vl"]) as server:
        to = tmp_path / "answers.jsonl"
        done = virc("batch", file, *asking, server.url, "--to", to)
        assert (done.code, " is read by the " in done.err) == (0, True), done.err
        answers = to.read_bytes()
        assert virc("batch", file, *asking, server.url, "--to", to).code == 0
        assert to.read_bytes() == answers  # all were done before
        answered: list[dict[str, Any]] = [json.loads(line) for line in answers.splitlines()]
        assert [each["answer"] for each in answered] == ["red"] * (len(questions) or 3)
        assert not questions or sorted(each["input"]["question"] for each in answered) == questions
        assert len({each["id"] for each in answered}) == len(answered)
        evaluated = virc("eval", file, *asking, server.url, "--to", tmp_path / "eval", "--json")
    if questions:
        assert (evaluated.code, evaluated.json["problems"]) == (0, len(questions)), evaluated.err
    else:  # nobody says which of two replies is right
        assert "it has no answer to compare the model's with" in evaluated.err


def test_a_layout_names_no_picture_outside_of_its_folder(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    saved(tmp_path, "a.png", 0)
    file = lines(
        tmp_path / "in/a.jsonl", [{"messages": TALK, "images": [name]} for name in ("../a.png", "http://127.0.0.1/a")]
    )
    with serve(["<answer>red</answer>"], models=["qwen3-vl"]) as server:
        done = virc("batch", file, "--endpoint", server.url)
        assert (done.code, len(server.chats())) == (1, 0)
    assert "it is outside the dataset's folder" in done.err
    assert "private address" in done.err


def test_a_system_message_and_later_questions_that_are_not_sent_are_named(tmp_path: Path) -> None:
    saved(tmp_path, "a.png", 0)
    later = [{"role": "user", "content": "And now?"}, {"role": "assistant", "content": "blue"}]
    row = {"messages": [{"role": "system", "content": "Answer in French."}, *TALK, *later], "images": ["a.png"]}
    with serve(["<answer>rouge</answer>"], models=["qwen3-vl"]) as server:
        done = virc("batch", lines(tmp_path / "a.jsonl", [row]), "--endpoint", server.url)
    assert done.code == 0
    assert "warning: the system message of these rows is not sent: Answer in French" in done.err
    assert "warning: of a conversation with several questions, the first alone is asked" in done.err


def test_images_of_a_solution_are_not_shown_with_its_question(tmp_path: Path) -> None:
    assert virc("data", "synth", "--to", tmp_path / "dr", "--count", 1, "--pattern", "look").code == 0
    with serve(["<answer>7</answer>"], models=["qwen3-vl"]) as server:
        assert virc("batch", tmp_path / "dr/trajectories.json", "--endpoint", server.url).code == 0
        shown = [part for message in server.chats()[-1]["messages"] for part in message["content"]]
    assert sum(part["type"] == "image_url" for part in shown if isinstance(part, dict)) == 1
