"""Phrases that are changed: one alone, in its place, as a comparison of both texts finds it."""

import difflib
import json
import re
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import pytest
from PIL import Image
from support.servers import Body, images_of, serve
from support.tables import each_case

from virc.data.make.run import make
from virc.solving.one import SolveConfig
from virc.solving.setup import set_up
from virc_zoo.vicrit.operators.corrupt import UnfitError, by_rules, changed

CAPTION = "Two red cars, one old, stand in front of a large wooden house. On the left there are three dogs."


def rows_file(folder: Path, *captions: object, **more: object) -> Path:
    Image.new("RGB", (56, 56), "white").save(folder / "p.png")
    file = folder / "rows.jsonl"
    rows = [{"id": at, "image": "p.png", "caption": caption, **more} for at, caption in enumerate(captions)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def read(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def corrupted(folder: Path, rows: Path, to: str = "new", **options: Any) -> list[dict[str, Any]]:
    make("corrupt", [str(rows)], folder / f"{to}.jsonl", options)
    return read(folder / f"{to}.jsonl")


def by_model(
    folder: Path, rows: Path, reply: str | Callable[[Body], str], **options: Any
) -> tuple[list[dict[str, Any]], list[Body]]:
    """The rows that a scripted teacher makes, and what it was sent."""
    with serve(reply if callable(reply) else [reply]) as server:
        setup = set_up({"endpoint": server.url}, SolveConfig(), None, None, False)
        settings = {"by": "model", **options}
        make("corrupt", [str(rows)], folder / "new.jsonl", settings, setup=setup, roles={"teacher": server.url})
        sent = [request.body for request in server.requests if request.body]
    return read(folder / "new.jsonl"), sent


def rules(folder: Path) -> Counter[str]:
    return Counter(row["rule"] for row in read(folder / "new.jsonl.left_out"))


def words(text: str) -> list[str]:
    return re.findall(r"\w+|[^\w\s]", text)


def test_comparing_the_texts_finds_one_change(tmp_path: Path) -> None:
    rows = corrupted(tmp_path, rows_file(tmp_path, *[CAPTION] * 60))
    assert len(rows) == 60
    assert len({row["question"] for row in rows}) > 15
    for row in rows:
        (change,) = row["changes"]
        assert row["question"][change["start"] : change["end"]] == row["answer"] == change["replacement"]
        matcher = difflib.SequenceMatcher(None, words(CAPTION), words(row["question"]), autojunk=False)
        spans = [code for code in matcher.get_opcodes() if code[0] != "equal"]
        first, last = spans[0], spans[-1]
        assert set(words(row["question"])[first[3] : last[4]]) <= set(words(change["replacement"]))
        assert set(words(CAPTION)[first[1] : last[2]]) <= set(words(change["original"]))
        assert row["caption"] == CAPTION


@each_case(
    ("kind", "text", "expected"),
    [
        ("number", "Ten men.", {"Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine"}),
        ("number", "One man has one dog.", set()),
        ("number", "A two-door car.", set()),
        ("colour", "A RED door.", {"Blue", "Green", "Yellow", "Black", "White", "Brown", "Grey", "Pink", "Purple"}),
        ("colour", "A redder door and a red's.", set()),
        ("place", "He left. It stands to the left of him.", {"the right"}),
        ("place", "He left, and he was right.", set()),
        ("place", "An upper shelf.", set()),
        ("place", "It is above the sofa and below the roof.", set()),
        ("place", "It is in front of\nthe sofa.", {"behind"}),
        ("attribute", "A full glass.", set()),
        ("attribute", "The full glass.", {"empty"}),
        ("attribute", "An empty glass.", set()),
        ("attribute", "A tall man and a tall woman.", set()),
        ("attribute", "A tall man and a short woman.", set()),
        ("attribute", "", set()),
    ],
)
def test_rules_change_words_of_their_kind(kind: Any, text: str, expected: set[str]) -> None:
    found = set()
    for seed in range(80):
        with suppress(UnfitError):
            found.add(by_rules(text, [kind], Random(seed))[1].replacement)
    assert found == expected


@each_case(
    ("text", "original", "replacement", "rule"),
    [
        ("a red car", "red", "red", "nothing changed"),
        ("a red car", "red", "RED", "nothing changed"),
        ("a red car", "red", " ", "nothing changed"),
        ("a red car", "", "blue", "nothing changed"),
        ("a red car", "green", "blue", "phrase not there once"),
        ("a red car, a red van", "red", "blue", "phrase not there once"),
        ("a redder car", "red", "blue", "phrase not there once"),
        ("a red car, a blue van", "red", "blue", "answer not there once"),
        ("a large red car", "large red car", "red car", "not one change"),
        ("it is so", "it is so", "a b c d e f g", "phrase too long"),
    ],
)
def test_a_change_that_cannot_be_found_is_refused(text: str, original: str, replacement: str, rule: str) -> None:
    with pytest.raises(UnfitError) as caught:
        changed(text, original, replacement)
    assert caught.value.rule == rule
    assert rule != "phrase not there once" or caught.value.why.startswith(f"{original!r} stands ")


def proposal(*pairs: tuple[str, str]) -> str:
    return json.dumps({"changes": [{"original": old, "replacement": new, "detail": "it is not"} for old, new in pairs]})


def test_a_teacher_sees_the_picture_and_changes_a_noun(tmp_path: Path) -> None:
    reply = "Here it is:\n```json\n" + proposal(("cars", "vans")) + "\n```"
    (row,), (body,) = by_model(tmp_path, rows_file(tmp_path, CAPTION), reply, kinds=["noun"])
    assert (row["question"], row["answer"]) == (CAPTION.replace("cars", "vans"), "vans")
    assert row["changes"][0]["detail"] == "it is not"
    assert len(images_of(body)) == 1
    assert CAPTION in json.dumps(body)


@each_case(
    ("reply", "rule"),
    [
        ("I cannot.", "no such JSON"),
        ("{}", "no such JSON"),
        ('{"changes": []}', "no such JSON"),
        ('{"changes": [{"original": "red"}]}', "no such JSON"),
        ("{" * 3000 + "}", "no such JSON"),
        (proposal(("red", "blue"), ("large", "small")), "too many changes"),
        (proposal(("green", "blue")), "phrase not there once"),
        (proposal(("red", "wooden")), "answer not there once"),
    ],
)
def test_replies_that_do_not_fit_leave_the_row_out(tmp_path: Path, reply: str, rule: str) -> None:
    rows, _ = by_model(tmp_path, rows_file(tmp_path, CAPTION), reply, kinds=["colour"])
    assert rows == []
    assert rules(tmp_path) == {rule: 1}


def test_faults_of_an_answer_are_added_beside_it(tmp_path: Path) -> None:
    rows = rows_file(tmp_path, "", question="What is there?", answer="Two red cars and a dog.")
    (row,), (body,) = by_model(tmp_path, rows, proposal(("red", "blue"), ("dog", "cat")), column="answer", most=5)
    assert (row["question"], row["answer"]) == ("What is there?", "Two red cars and a dog.")
    assert row["corrupted"] == "Two blue cars and a cat."
    assert [row["corrupted"][each["start"] : each["end"]] for each in row["changes"]] == ["blue", "cat"]
    assert "What is there?" in json.dumps(body)
    assert "wrong in 1 to 5 places, by changing a " in json.dumps(body)
    (folder := tmp_path / "one").mkdir()
    (row,), _ = by_model(folder, rows, proposal(("red", "blue")), column="answer", most=5)
    assert (row["corrupted"], row["answer"]) == ("Two blue cars and a dog.", "Two red cars and a dog.")
