"""Phrases that are changed: one alone, in its place, as a comparison of both texts finds it."""

import difflib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image
from support.servers import Body, images_of, serve

from virc.solving.one import SolveConfig
from virc.solving.setup import set_up
from virc_extras.make.run import make

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


def proposal(*pairs: tuple[str, str]) -> str:
    return json.dumps({"changes": [{"original": old, "replacement": new, "detail": "it is not"} for old, new in pairs]})


def test_a_teacher_sees_the_picture_and_changes_a_noun(tmp_path: Path) -> None:
    reply = "Here it is:\n```json\n" + proposal(("cars", "vans")) + "\n```"
    (row,), (body,) = by_model(tmp_path, rows_file(tmp_path, CAPTION), reply, kinds=["noun"])
    assert (row["question"], row["answer"]) == (CAPTION.replace("cars", "vans"), "vans")
    assert row["changes"][0]["detail"] == "it is not"
    assert len(images_of(body)) == 1
    assert CAPTION in json.dumps(body)
