"""Every object that solve prints, in success and in every kind of failure, is as its JSON schema says."""

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from support.called import Done, virc
from support.servers import dead_url, serve
from support.solving import CROP, answer

SCHEMA: dict[str, Any] = json.loads(files("virc").joinpath("core", "schemas", "solve.json").read_text(encoding="utf-8"))


def check(value: object) -> None:
    jsonschema.Draft202012Validator(SCHEMA).validate(value)


def solved(image: Path, *words: object) -> Done:
    with serve([CROP, answer("97")]) as server:
        return virc("solve", image, "q", "--endpoint", server.url, "--json", *words)


def test_an_answer(image: Path, tmp_path: Path) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    check(solved(image).json)
    check(solved(image, "--samples", 2, "--trace", tmp_path / "t", "--timeout", 50).json)


@pytest.mark.parametrize("words", [["--bad"], ["--model", "nothing"]])
def test_a_failure_before_anything_is_known(words: list[str], image: Path) -> None:
    done = virc("solve", image, "q", "--json", *words)
    assert done.json["error"]["code"] == done.code != 0
    check(done.json)


def test_failures_of_every_later_kind(image: Path, tmp_path: Path) -> None:
    for done in (
        virc("solve", tmp_path / "gone.png", "q", "--json"),
        virc("solve", image, "q", "--json", "--endpoint", dead_url()),
        solved(image, "--max-turns", 1),
        solved(image, "--max-pixels", 5),
    ):
        assert done.json["error"]["code"] == done.code != 0
        check(done.json)


def test_every_line_of_a_batch(image: Path, tmp_path: Path) -> None:
    rows: list[object] = [
        {"id": 1, "image": str(image), "question": "q", "answer": "97", "n": [1.5, None]},
        {"id": "b", "image": "gone.png", "question": "q"},
        {"id": "b"},
        [],
    ]
    (tmp_path / "in.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with serve([CROP, answer("97")]) as server:
        done = virc("batch", tmp_path / "in.jsonl", "--endpoint", server.url)
    for line in done.lines:
        check(line)
    lines = sorted(done.lines, key=lambda each: str(each["error"]))  # a row is printed when it ends
    found = [(each["id"], each["answer"], (each["error"] or {}).get("message"), each["input"]) for each in lines]
    assert found == [
        (1, "97", None, {"question": "q", "answer": "97", "n": [1.5, None]}),
        ("b", None, "line 3: no column is known as the question: the columns are 'id'", {}),
        (None, None, "line 4: it is a list, not an object", {}),
        ("b", None, "there is no file gone.png", {"question": "q"}),
    ]
    assert [each.get("calls") for each in lines] == [{"crop_image": 1}, None, None, None]
    assert [each["row"] is None for each in lines] == [False, True, True, False]
    assert not any("view" in each for each in lines), "of rows whose answer is a box alone"
