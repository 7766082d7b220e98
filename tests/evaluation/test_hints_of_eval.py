"""What `virc eval` says to type next about files of problems works: each hint is typed back."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.called import Done, virc

Row = dict[str, Any]
PROBLEM = {"image": "a.png", "question": "What is it?", "answer": "7"}
PUBLISHED = {"images": ["a.png"], "problem": "What is it?", "solution": "7"}
CHOICES = {**PROBLEM, "answer": "A", "A": "seven", "B": "two"}
MASKED = {**PROBLEM, "mask": "a.png", "second picture": "a.png"}
LLAVA = {
    "image": "a.png",
    "conversations": [{"from": "human", "value": "<image>\nWhat is it?"}, {"from": "gpt", "value": "7"}],
}
OWN = {
    "an array": ("my array.json", json.dumps([PROBLEM, PROBLEM])),
    "columns of another name": ("a.jsonl", "\n".join(json.dumps(PUBLISHED) for _ in range(4))),
    "choices in columns": ("it's.jsonl", "\n".join(json.dumps(CHOICES) for _ in range(4))),
    "columns that nothing reads": ("b.jsonl", "\n".join(json.dumps(MASKED) for _ in range(4))),
    "a table": ("own.csv", "image,question,answer\na.png,What is it?,7\n"),
    "conversations": ("llava.json", json.dumps([{"id": number, **LLAVA} for number in range(3)])),
}


def leads_on(done: Done, typed: list[str]) -> list[str]:
    """The command that a refusal leads to, as words: one that it names, or the same with the options that it names."""
    (hint,) = (line.removeprefix("hint: ") for line in done.err.splitlines() if line.startswith("hint: "))
    if hint.startswith("virc data convert"):
        return shlex.split(hint)[1:]
    return typed + shlex.split(" ".join(re.findall(r"--ignore (?:'[^']*'|\S+)", hint)))


@pytest.mark.parametrize("rows", OWN)
def test_a_file_that_is_not_taken_as_it_is_leads_to_one_that_is(
    rows: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (56, 56), "white").save("a.png")
    name, text = OWN[rows]
    Path(name).write_text(text)
    evaluate = ["--model", "tiny", "--max-turns", "1", "--json"]
    done = virc("eval", name, *evaluate)
    if done.code != 0:
        typed = leads_on(done, [])
        done = virc(*typed)
        done = virc(*leads_on(done, typed)) if done.code != 0 else done
        assert done.code == 0, done.err
        done = virc("eval", "problems", *evaluate)
    assert (done.code, json.loads(done.out)["problems"]) == (0, text.count("What is it?"))
