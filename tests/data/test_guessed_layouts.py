"""Layouts that rows show by themselves: what is sure is taken, what may be read in two ways is not."""

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from PIL import Image
from pyarrow import parquet
from support.called import virc
from support.public_layouts import COLOURS, asked, lines, saved, talk

from virc.data.formats import registry
from virc.data.rows.guess import propose, unclear
from virc.data.rows.laid_out import record_of
from virc.systems.layouts.layout import Layout, Part
from virc_cli.console import output

CHOICES = ["red", "green", "blue"]
QA = {"question": "What?", "answer": "a"}


def rows(folder: Path, *columns: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"question": asked(at), "image": saved(folder, f"{at}.png", at), **each} for at, each in enumerate(columns)]


UNSURE = [
    ([{"choices": CHOICES, "answer": 1}, {"choices": CHOICES, "answer": 2}], "may count from 0 or 1"),
    ([{"choices": ["1", "2", "3"], "answer": 1}], "may be a choice, or the number of one"),
    ([{"choices": CHOICES, "answer": ["red", "blue"]}], "all of them together"),
    ([{"answer": ["red", "blue"]}], "one answer in parts"),
    ([{"answer": {"text": "red"}}], "not always a text or a number"),
    ([{"label": 3}], "may be the number of a class"),
    ([{"choices": CHOICES, "options": CHOICES, "answer": "red"}], "the choices may be choices or options"),
    ([{"answer": "red", "bbox": [10, 10, 50, 60]}], "left, top, right, bottom, or with width and height"),
    ([{"choices": CHOICES, "answer": "pink"}], "none of its choices"),
    ([{"question": None, "caption": "A red square."}], "the answer may be caption"),
    ([{"question": None, "image": None, "video": "a.mp4"}], "video names videos, which are not read"),
    ([{"choices": {"red": 1, "blue": 0}}], "the text of a choice as each value"),
    ([{"choices": "red or green", "answer": "red"}], "one text whose parts are not clear"),
    ([{"choices": "red or green", "answer": 1}], "parts are not clear: 'red or green' (column choices)"),
    ([{"choices": "red, green", "answer": "red"}], "one text whose parts are not clear"),
    ([{"question": "Which?\nA. 1\nB. 2\nC. 3", "answer": 2}], "may be a choice, or the number of one"),
    ([{"question": "Which?\nA. red\nB. blue", "answer": 1}], "may count from 0 or 1"),
    ([{"question": "Which? A. red B. blue", "answer": 1}], "the number of a choice that stands in the question"),
    ([{"question": "Which?\nA. red\nB. blue", "answer": 9}], "the number of a choice that stands in the question"),
    ([{"question": ["What?", "Which?"], "answer": "red"}], "answer is one answer of several question"),
    ([{"question": ["What?", "Which?"], "answers": ["red", "a", "b"]}], "it has 2 in question and 3 in answers"),
    ([{"question": ["What?", "Which?"], "answers": ["a", "b"], "bbox": [[1] * 4] * 2}], "each of bbox may belong to"),
    ([{"question": ["What?", "And?"], "answers": ["a", "b"], "kind": "Conversational"}], "may follow on each other"),
    ([{"question": ["What?", "Which?"], "answers": ["a", "b"], "image": ["0.png"] * 2}], "each of image may belong to"),
    (
        [{"question": ["What?", "Which?"], "answers": ["a", "b"], "images": each} for each in (["0.png"] * 2, "0.png")],
        "each of images may belong to",
    ),
    ([{"question": ["What?", "Which?"], "answers": ["a", "b"], "notes": ["c", "d"]}], "each of notes may belong to"),
    ([{"question": ["What?", "Which?"], "answers": [{"text": "a"}, {"text": "b"}]}], "not always a text or a number"),
    ([{"question": None, "qas": [QA, QA], "choices": [["a"], ["b"]]}], "each of choices may belong to"),
    ([{"question": None, "qas": [{"question": "What?"}] * 2, "answer": "a"}], "answer is one answer of several qas"),
    ([{"question": None, "qas": [QA | {"image": "0.png"}]}], "its column qas has the key image"),
    ([{"question": None, "qas": "[{'question': 'What?', 'answer': 'a', 1: 2}]"}], "has the key 1, which is no text"),
    ([{"question": None, "texts": ["A red square.", "A square."]}], "no column is known as the question"),
    ([{"answer": "red", "bbox": [0.1, 0.1, 0.5, 0.5]}], "with width and height"),
    ([{"response": "red"}], "the answer may be response"),
    ([{"question": None, "frage": "Was ist links?", "answer": "red"}], "the question may be frage"),
    ([{"query": "Which one?", "problem": "Which?", "question": None}], "the question may be query or problem"),
    ([{"gt_answers": ["a"], "true_answers": ["b"]}], "the answers may be gt_answers or true_answers"),
    ([{"answer": "red <OR> blue"}], "answer holds several answers, joined by <AND> or <OR>"),
    ([{"choices": ["a.png", "b.png"], "answer": "a.png"}], "the choices in choices are pictures"),
    ([{"answer": "red", "image": "x/gone.png"}] * 2, "the picture x/gone.png that image names is not in"),
    ([{"answer": "red", "image": ["x/gone.png"]}] * 2, "the picture x/gone.png that image names is not in"),
    ([{"answer": "red", "image": f"{'ab'[at]}/{at}.png"} for at in range(2)], "the picture a/0.png that image names"),
    ([{"question": None, "instruction": "Which?", "output": ["red"]}], "the answer may be output"),
    ([{"question": None, "messages": [{"role": "user", "text": "Which?"}]}], "no column is known as the question"),
    ([{"image": ["0.png", "0.png###[1, 2, 30, 40]"]}], "the second path of image may hold the box of the answer"),
    ([{"number": 3}], "the answer may be number"),
    ([{"answer": "red", "image": "a\\\\b.png"}], "folders are separated by /"),
    ([{"question": None, "text": "A red square."}], "may be a text about the picture"),
    ([{"solution": "As the square is red, and nothing else, " * 4}], "the way to an answer"),
    ([{"question": None, "messages": talk(0, "<ImageHere> ")}], "<ImageHere> in messages may stand for an image"),
    ([{"question": "How many?", "answer": 0}, {"question": "Which?", "answer": 1}], "may stand for no and yes"),
    (
        [{"question": "Is it red?", "answer": "1"}, {"question": "Does it turn?", "answer": "1"}],
        "may stand for no and yes",
    ),
]


@pytest.mark.parametrize(("columns", "reason"), UNSURE)
def test_what_may_be_read_in_two_ways_is_not_taken(columns: list[dict[str, Any]], reason: str, tmp_path: Path) -> None:
    found = propose(rows(tmp_path, *columns), tmp_path)
    assert any(reason in each for each in found.unsure), found.unsure


SURE: list[tuple[list[dict[str, Any]], dict[str, Any]]] = [
    ([{"choices": CHOICES, "answer": 0}], {"index_from": 0}),
    ([{"choices": ["red", "blue"], "answer": at} for at in range(2)], {"index_from": 0}),
    ([{}, {"answer": "red"}, {"answer": "blue"}], {"answer": "answer"}),
    ([{"image": ["0.png", "0.png"], "answer": "red"}], {"images": "image", "boxes": None}),
    (
        [{"image": None, "note": each, "photo": "0.png", "answer": "red"} for each in ("0.png", "No.")],
        {"images": "photo"},
    ),
    ([{"choices": CHOICES, "answer": 3}], {"index_from": 1}),
    ([{"choices": "red; blue", "answer": at} for at in (1, 2)] + [{"choices": "red", "answer": 1}], {"index_from": 1}),
    ([{"choices": "red; blue", "answer": at} for at in (1, 2)] + [{"choices": "N/A", "answer": 2}], {"index_from": 1}),
    ([{"choices": CHOICES, "answer_idx": 0}], {"index_from": 0}),
    ([{"choices": each, "answer": 0} for each in ("red;blue", "red or blue", "red|blue")], {"index_from": 0}),
    ([{"answers": ["red", "crimson"]}], {"answers": "answers", "answer": None, "metric": None}),
    ([{"answers": ["red"] * 6 + ["blue"] * 4}] * 2, {"answers": "answers", "metric": "vqa_accuracy"}),
    ([{"answers": ["red"] * 6 + ["blue"] * 4}, {"answers": ["red"] * 9}], {"answers": "answers", "metric": None}),
    (
        [{"image": None, "image_2": "0.png", "image_10": "0.png", "image_1": "0.png", "answer": "red"}],
        {"images": Part(columns=("image_1", "image_2", "image_10"))},
    ),
    ([{"answer": "red", "qid": 1, "pid": at} for at in range(2)], {"id": "pid"}),
    ([{"answer": "red", "id": id} for id in ("", "b")], {"id": None}),
    ([{"answer": "red", "uid": at, "question_id": f"q{at}"} for at in range(2)], {"id": "question_id"}),
    ([{"bbox_xyxy": [10, 10, 50, 60], "value": "left"}], {"boxes": "bbox_xyxy", "answer": None}),
    (
        [{"question": None, "questions": ["What?", "Which?"], "answers": ["a", "b"][: at or 1]} for at in (2, 0, 2)],
        {"explode": ("questions", "answers")},
    ),
    ([{"image": None, "image_paths": "['0.png', '0.png']", "answer": "red"}], {"images": "image_paths"}),
    ([{"final_answer": ["red"]}, {"final_answer": ["blue"]}], {"answers": None, "answer": "final_answer"}),
    ([{"context": None, "answer": "red"}], {"question": Part(text="{context}\n{question}")}),
    ([{"hints": "Red.", "answer": "red"}], {"question": Part(text="{hints}\n{question}")}),
    ([{"hint": each, "answer": "red"} for each in ("Red.", 5)], {"question": "question"}),
    ([{"premise": "Red.", "answer": "red"}], {"question": Part(text="{premise}\n{question}")}),
    ([{"a": "red", "b": "blue", "c": "", "answer": "b"}], {"choices": Part(columns=("a", "b", "c"))}),
    ([{"a0": "red", "a1": "blue", "answer": 0}], {"choices": Part(columns=("a0", "a1")), "index_from": 0}),
    ([{"answer": "red", "bbox": [50, 50, 20, 20]}], {"boxes": "bbox", "box": "size"}),
    ([{"answer": "red", "bbox": [0.5, 0.5, 0.2, 0.2]}], {"boxes": "bbox", "coordinates": "unit", "box": "size"}),
    ([{"answer": "red", "bbox_xyxy": [0.1, 0.1, 0.5, 0.5]}], {"coordinates": "unit", "box": "corners"}),
    ([{"answer": "red", "bbox_xyxy": [10, 10, 50, 60]}], {"boxes": "bbox_xyxy", "box": "corners"}),
    ([{"options": "(A) red (B) blue", "answer": "B"}], {"choices": "options", "index_from": None}),
    ([{"answer": "red", "bbox_xyxy": [1, 1, 9, 9], "box_xyxy": [1, 1, 9, 9]}], {"boxes": None}),
    ([{"image": None, "mask": "0.png", "photo_file": "0.png", "answer": "red"}], {"images": "photo_file"}),
    ([{"image": [name], "answer": "red"} for name in ("0.png", "gone.png")], {"images": "image"}),
    ([{"choices": ["red", "2"], "answer": "2"}, {"choices": CHOICES, "answer": "red"}], {"index_from": None}),
    ([{"caption": "A red square."}], {"answer": None}),
    ([{"question": "Which?\nA. red\nB. blue", "answer": 0}], {"choices": "question", "index_from": 0}),
    ([{"question": "Which?\nA. red\nB. blue", "answer": "B"}], {"choices": None}),
    ([{"question": "Look at A: 0 and B: cubes. How many of them are red?", "answer": 2}], {"choices": None}),
    ([{"question": "Is B. Smith as old as A. Jones? Say the number.", "answer": 2}], {"choices": None}),
]

EXPLODED: list[tuple[dict[str, Any], list[tuple[str, Any, Any]]]] = [
    ({"questions": ["What?", "Which?"], "answers": ["red", 2]}, [("What?", "red", None), ("Which?", "2", None)]),
    ({"questions": "['What?' 'Which?']", "answers": "['a'\n 'b']"}, [("What?", "a", None), ("Which?", "b", None)]),
    ({"question": '["What?", "Which?"]', "gt_answer": "['a', 'b']"}, [("What?", "a", None), ("Which?", "b", None)]),
    ({"queries": ["What?"], "labels": [["a"]]}, [("What?", "a", None)]),
    (
        {"questions": ["What?", "Which?"], "answers": ["a", "d"], "choices": [["a", "b"], ["c", "d"]]},
        [("What?", "a", ["a", "b"]), ("Which?", "d", ["c", "d"])],
    ),
    (
        {"qa_pairs": [{"question": "What?", "answer": "a"}, {"question": "Which?", "answer": "b", "options": "b;c"}]},
        [("What?", "a", None), ("Which?", "b", ["b", "c"])],
    ),
    ({"QAs": '[{"Question": "What?", "Answer": "a"}]'}, [("What?", "a", None)]),
    ({"qa_list": [QA]}, [("What?", "a", None)]),
    ({"qas": [QA | {"id": 5}, QA | {"id": 6}]}, [("What?", "a", None)] * 2),
    ({"qa": {"What?": "a", "Which?": "b"}}, [("What?", "a", None), ("Which?", "b", None)]),
    ({"texts": ["What?", "Which?"]}, [("What?", None, None), ("Which?", None, None)]),
]


@pytest.mark.parametrize(("columns", "problems"), EXPLODED)
@pytest.mark.parametrize("id", [7, None])
def test_each_question_of_a_row_becomes_a_problem(
    columns: dict[str, Any], problems: list[tuple[str, Any, Any]], id: int | None, tmp_path: Path
) -> None:
    row = {"image": saved(tmp_path, "0.png", 0)} | columns | ({} if id is None else {"id": id})
    (source,) = registry.sources(lines(tmp_path / "rows.jsonl", [row, row | ({} if id is None else {"id": 8})]))
    records = [each.known() for each in registry.get(source.format).read(source)]
    found = [(each.question, each.answer, each.extra.get("choices") or None) for each in records]
    assert found == problems * 2
    first, second = (7, 8) if id else (1, 2)
    ids = [f"{number}-{at}" for number in (first, second) for at, _ in enumerate(problems, 1)]
    assert [each.id for each in records] == ids


TWO: dict[str, Any] = {"id": 1, "questions": ["What?", "Which?"], "answers": ["red", "blue"]}
ONE: dict[str, Any] = {"id": 1, "questions": ["What?"], "answer": "red"}
OBJECTS: dict[str, Any] = {"id": 1, "qas": [QA | {"qid": 1}, QA | {"qid": 2}]}


@pytest.mark.parametrize(
    ("first", "late", "id", "faults"),
    [
        (TWO, {"answers": ["red"]}, None, ["it has 2 in questions and 1 in answers, and each question has one"]),
        (TWO, {"questions": [], "answers": []}, None, ["its column questions is empty"]),
        (TWO, {"image": ["0.png"] * 2}, None, ["each of image may belong to one of questions, or all of them to each"]),
        (TWO, {"kind": "Dialogue"}, None, ["questions may follow on each other, as turns of a conversation"]),
        (ONE, {"questions": ["What?", "Which?"]}, None, ["answer is one answer of several questions"]),
        (OBJECTS, {"qas": [QA, {"question": "", "answer": "a"}, QA]}, None,
         ["question 2: its question, column question, is empty"]),
        (OBJECTS, {"qas": [{1: 2}]}, None, ["its column qas has the key 1, which is no text"]),
        (OBJECTS, {"id": None}, "id", ["question 1: its id is empty", "question 2: its id is empty"]),
        (OBJECTS, {}, "qid", ["question 1: its id 1 is that of one before it",
                              "question 2: its id 2 is that of one before it"]),
    ],
)  # fmt: skip
def test_a_later_row_whose_questions_are_not_as_those_before_is_a_fault(
    first: dict[str, Any], late: dict[str, Any], id: str | None, faults: list[str], tmp_path: Path
) -> None:
    first = {"image": saved(tmp_path, "0.png", 0)} | first
    count = 1 if id else 20
    rows = [*(first | {"id": at} for at in range(count)), first | {"id": 20} | late]
    rows = [{name: repr(each) if name == "qas" else each for name, each in row.items()} for row in rows]
    (source,) = registry.sources(lines(tmp_path / "rows.jsonl", rows))
    if id and source.laid_out:
        layout = msgspec.structs.replace(source.laid_out.layout, id=id)
        laid_out = msgspec.structs.replace(source.laid_out, layout=layout)
        source = msgspec.structs.replace(source, laid_out=laid_out)
    found = [each.fault.message for each in registry.get(source.format).read(source) if each.fault]
    assert found == [f"row {count + 1}: {each}" for each in faults]


def test_rows_without_a_question_get_a_layout_with_one_for_all(tmp_path: Path) -> None:
    row = {"question": None, "caption_id": "7", "captions": ["A red square.", "Red."]}
    file = lines(tmp_path / "rows.jsonl", rows(tmp_path, row, row))
    assert virc("data", "layout", file, "--write", tmp_path / "mine.yaml").code == 0
    text = (tmp_path / "mine.yaml").read_text()
    assert "no column is known as the question" in text
    (tmp_path / "mine.yaml").write_text(text[: text.index("unsure:")])
    words = ("--layout", tmp_path / "mine.yaml", "--to", tmp_path / "to", "--format", "batch")
    assert virc("data", "convert", file, *words).code == 0
    (made, _) = map(json.loads, (tmp_path / "to" / "rows.jsonl").read_text().splitlines())
    assert (made["question"], made["answers"]) == ("Describe the picture.", ["A red square.", "Red."])


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image", "path": "0.png"},
        {"type": "image", "url": "0.png"},
        {"type": "image", "image": "0.png"},
        {"type": "image_url", "image_url": {"url": "0.png"}},
        {"image": "0.png"},
    ],
)
def test_an_image_in_a_message_is_read(part: dict[str, str], tmp_path: Path) -> None:
    user = {"role": "user", "content": [part, {"type": "text", "text": "How many?"}]}
    row = rows(tmp_path, {"messages": [user, {"role": "assistant", "content": "3"}], "question": None, "image": None})
    found = propose(row, tmp_path)
    assert found.unsure == ()
    assert found.layout
    (picture,) = record_of(row[0], found.layout, tmp_path, None).images
    assert picture.path() == tmp_path / "0.png"


@pytest.mark.parametrize(("columns", "fields"), SURE)
def test_what_rows_show_is_taken_with_a_reason(
    columns: list[dict[str, Any]], fields: dict[str, Any], tmp_path: Path
) -> None:
    found = propose(rows(tmp_path, *columns), tmp_path)
    assert found.unsure == ()
    assert found.layout
    assert {name: getattr(found.layout, name) for name in fields} == fields
    assert all(any(reason.startswith(f"{name}:") for reason in found.reasons) for name in ("question", "images"))


def test_a_conversation_without_a_reply_has_its_answer_beside_it(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "Which?"}]
    row = {"image": saved(tmp_path, "a.png", 0), "conversations": turns, "answer": "red"}
    found = propose([row], tmp_path)
    assert (found.unsure, found.unread, found.layout and found.layout.answer) == ((), {}, "answer")
    assert found.layout
    assert found.layout.question == "conversations.0.content"
    alone = propose([{name: value for name, value in row.items() if name != "answer"}], tmp_path).layout
    assert alone
    assert (alone.messages, alone.question) == ("conversations", None)
    answered = propose([row | {"conversations": [*turns, {"role": "assistant", "content": "It is red."}]}], tmp_path)
    assert answered.layout
    assert (answered.layout.messages, answered.layout.answer) == ("conversations", None)
    assert propose([{"chosen": "a", "rejected": "b", "question": "Which?"}], tmp_path).layout is None
    assert unclear({"qas": [QA, QA], "answer": "b"}, Layout("mine", question="-", explode=("qas",)), tmp_path) is None


@pytest.mark.parametrize("column", [{"options": "red, green"}, {"qa": [{"ask": "Why?", "answer": "So."}]}])
def test_rows_of_no_format_are_refused_with_their_columns(column: dict[str, Any], tmp_path: Path) -> None:
    row = {"image": saved(tmp_path, "a.png", 0), "query": "Which?", "answer": "red", **column}
    done = virc("data", "check", lines(tmp_path / "rows.jsonl", [{**row, "query": None} if "qa" in row else row] * 2))
    assert done.code == 5, done
    assert f"its columns are {', '.join(row)}" in done.err


def test_pictures_in_two_folders_are_not_guessed(tmp_path: Path) -> None:
    content = [{"question": asked(at), "image": f"{at}.png", "answer": COLOURS[at]} for at in range(2)]
    for place, other in (("train", 0), ("val", 1)):
        for at in range(2):
            saved(tmp_path, f"{place}/{at}.png", at + other)
    assert any("may be train/{image} or val/{image}" in each for each in propose(content, tmp_path).unsure)


def test_numbered_columns_of_pictures_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    pictures = {f"image_{at}": saved(tmp_path, f"{at}.png", at % 3) for at in (10, 2, 1)}
    layout = propose([{"question": asked(0), "answer": COLOURS[0], **pictures}], tmp_path).layout
    assert layout
    assert isinstance(layout.images, Part)
    assert layout.images.columns == ("image_1", "image_2", "image_10")


def test_an_id_is_proposed_that_no_two_rows_share(tmp_path: Path) -> None:
    content = rows(tmp_path, *({"id": "chart", "qid": at, "answer": COLOURS[at]} for at in range(2)))
    layout = propose(content, tmp_path).layout
    assert layout
    assert layout.id == "qid"


def test_one_picture_of_all_rows_is_not_guessed(tmp_path: Path) -> None:
    saved(tmp_path, "some/image.png", 0)
    content = [{"question": asked(at), "image": "image.png", "answer": COLOURS[at]} for at in range(3)]
    assert any("the picture of all rows" in each for each in propose(content, tmp_path).unsure)


def test_the_command_shows_a_proposal_and_writes_it(tmp_path: Path) -> None:
    file = lines(tmp_path / "rows.jsonl", rows(tmp_path, *({"choices": CHOICES, "answer": at + 1} for at in range(2))))
    shown = virc("data", "layout", file, "--write", tmp_path / "mine.yaml")
    assert shown.code == 0, shown
    assert "may count from 0 or 1" in shown.err
    assert "Which colour has square 1?" in shown.out
    text = (tmp_path / "mine.yaml").read_text()
    assert "index_from: 0" in text
    assert virc("data", "layout", file, "--write", tmp_path / "mine.yaml").code == 1  # it is there
    refused = virc("data", "check", file, "--layout", tmp_path / "mine.yaml")
    assert refused.code == 3, refused
    assert "mine.yaml is not sure: answer is the number of a choice" in refused.err
    decided = text[: text.index("unsure:")].replace("index_from: 0", "index_from: 1")
    (tmp_path / "mine.yaml").write_text(decided)
    done = virc("data", "check", file, "--layout", tmp_path / "mine.yaml")
    assert done.code == 0, done


@pytest.mark.parametrize("more", [{}, {"hint": "A colour."}])
@pytest.mark.parametrize("name", ["prompt", "problem", "instruction"])
def test_the_layout_of_rows_with_a_text_beside_the_question_says_how_to_read_it(
    name: str, more: dict[str, str], tmp_path: Path
) -> None:
    content = rows(tmp_path, *({"answer": "red", name: f"Look at {at}.", **more} for at in range(2)))
    file, mine = lines(tmp_path / "rows.jsonl", content), tmp_path / "mine.yaml"
    refused = virc("data", "convert", file, "--to", tmp_path / "to", "--format", "batch")
    assert (refused.code, f"nothing reads its {name} (" in refused.err) == (5, True), refused
    shown = virc("data", "layout", file, "--write", mine)
    assert f"--layout {mine}" in shown.err
    text = [line for line in mine.read_text().splitlines() if not line.startswith("question:")]
    mine.write_text("\n".join(line.removeprefix("# ") if line.startswith("# question:") else line for line in text))
    done = virc("data", "convert", file, "--layout", mine, "--to", tmp_path / "to", "--format", "batch")
    assert done.code == 0, done
    made = json.loads((tmp_path / "to" / "rows.jsonl").read_text().splitlines()[0])["question"]
    assert made == "\n".join(("Look at 0.", *more.values(), asked(0)))


@pytest.mark.parametrize(
    ("columns", "asks"),
    [
        ({"frage": "Was ist links?", "antwort": "rot"}, True),
        ({"问题": "左边是什么？", "答案": "红"}, True),
        ({"السؤال": "ما هذا؟", "الجواب": "أحمر"}, True),
        ({"aufgabe": "Nenne die Farbe.", "antwort": "rot"}, False),
    ],
)
def test_what_a_refusal_of_columns_in_another_language_says_to_type_leads_to_rows(
    columns: dict[str, Any], asks: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = lines(tmp_path / "rows.jsonl", [{"bild": saved(tmp_path, f"{at}.png", at), **columns} for at in range(3)])
    refused = virc("data", "check", file.name)
    typed = refused.err.rpartition("hint: ")[2].partition(" proposes one" if asks else ", with the names")[0]
    if asks:
        assert virc(*shlex.split(typed)[1:]).code == 0
    else:
        subprocess.run(typed, shell=True, check=True)
    text = Path("mine.yaml").read_text().partition("unsure:")[0]
    for name in (*columns, "bild"):
        text = text.replace("COLUMN", name, 1)
    Path("mine.yaml").write_text(text)
    assert refused.code == 5
    done = virc(
        "data", "convert", file.name, "--layout", "mine.yaml", "--to", "to", "--format", "batch", "--workers", 1
    )
    assert done.code == 0, done.err
    question, answer = columns.values()
    row = json.loads(Path("to/rows.jsonl").read_text().splitlines()[0])
    assert (row["question"], row["answer"], row["image"]) == (question, answer, "0.png")


def test_a_layout_that_is_not_there_is_named(tmp_path: Path) -> None:
    file = lines(tmp_path / "rows.jsonl", rows(tmp_path, {"answer": "red"}))
    done = virc("data", "check", file, "--layout", tmp_path / "none.yaml")
    assert (done.code, f"there is no file {tmp_path / 'none.yaml'}" in done.err) == (3, True)


def test_a_terminal_shows_the_pictures_in_half_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "colourful", lambda stream: stream is sys.stdout)
    file = lines(tmp_path / "rows.jsonl", rows(tmp_path, {"answer": "red"}, {"answer": "blue"}))
    (tmp_path / "1.png").write_bytes(b"no picture")
    shown = virc("data", "layout", file)
    with Image.open(tmp_path / "0.png") as image:
        red, green, blue = image.convert("RGB").getpixel((0, 0))  # type: ignore[misc]
    assert f"38;2;{red};{green};{blue};48;2;{red};{green};{blue}m▀" in shown.out
    assert (shown.code, "1.png" in shown.err) == (0, True)


def test_the_command_names_the_format_that_a_conversation_is_written_in(tmp_path: Path) -> None:
    turns = [{"from": "human", "value": "<image>Which?"}, {"from": "gpt", "value": "red"}]
    file = lines(tmp_path / "talk.jsonl", [{"image": saved(tmp_path, "a.png", 0), "conversations": turns}])
    assert "--to DIR --format sft writes these rows" in virc("data", "layout", file).err
    assert virc("data", "convert", file, "--to", tmp_path / "to", "--format", "sft").code == 0


@pytest.mark.parametrize(("units", "box"), [("", [40, 30, 80, 75]), ("coordinates: original\n", [100, 100, 200, 250])])
def test_boxes_of_a_given_layout_are_counted_as_it_says_or_as_the_system_does(
    units: str, box: list[float], tmp_path: Path
) -> None:
    """Thousandths of the sides, of a picture of 400 x 300 px, by the chat protocol of qwen3-vl."""
    Image.new("RGB", (400, 300), "white").save(tmp_path / "0.png")
    row = {"question": "Where?", "answer": "left", "image": "0.png", "box": [100, 100, 200, 250]}
    file = lines(tmp_path / "rows.jsonl", [row])
    layout = "about: mine\nquestion: question\nanswer: answer\nimages: image\nboxes: box\nbox: corners\n"
    (tmp_path / "mine.yaml").write_text(layout + units)
    words = ("--layout", tmp_path / "mine.yaml", "--system", "qwen3-vl", "--format", "rl", "--to", tmp_path / "made")
    done = virc("data", "convert", file, *words)
    assert done.code == 0, done
    (made,) = parquet.read_table(tmp_path / "made" / "rows.parquet").to_pylist()
    assert json.loads(made["extra_info"]["extra"])["boxes"] == [box]
