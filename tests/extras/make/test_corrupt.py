"""Phrases that are changed: one alone, in its place, as a comparison of both texts finds it."""

import difflib
import json
import re
from pathlib import Path

from asking_rows import made
from extras.make.made import read_rows, write_rows
from PIL import Image
from support.servers import images_of, serve

from virc_extras.make.run import make

CAPTION = "Two red cars, one old, stand in front of a large wooden house. On the left there are three dogs."


def rows_file(folder: Path, *captions: str) -> Path:
    Image.new("RGB", (56, 56), "white").save(folder / "p.png")
    rows = [{"id": at, "image": "p.png", "caption": caption} for at, caption in enumerate(captions)]
    return write_rows(folder / "rows.jsonl", rows)


def words(text: str) -> list[str]:
    return re.findall(r"\w+|[^\w\s]", text)


def test_comparing_the_texts_finds_one_change(tmp_path: Path) -> None:
    make("corrupt", [str(rows_file(tmp_path, *[CAPTION] * 60))], tmp_path / "new.jsonl", {})
    rows = read_rows(tmp_path / "new.jsonl")
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


def proposal(*pairs: tuple[str, str]) -> str:
    return json.dumps({"changes": [{"original": old, "replacement": new, "detail": "it is not"} for old, new in pairs]})


def test_a_teacher_sees_the_picture_and_changes_a_noun(tmp_path: Path) -> None:
    reply = "Here it is:\n```json\n" + proposal(("cars", "vans")) + "\n```"
    with serve([reply]) as server:
        options, roles = {"by": "model", "kinds": ["noun"]}, {"teacher": server.url}
        (row,) = made("corrupt", rows_file(tmp_path, CAPTION), server.url, options, roles=roles)
        (body,) = server.chats()
    assert (row["question"], row["answer"]) == (CAPTION.replace("cars", "vans"), "vans")
    assert row["changes"][0]["detail"] == "it is not"
    assert len(images_of(body)) == 1
    assert CAPTION in json.dumps(body)
