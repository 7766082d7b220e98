"""Functions of the user's own files that exit, and signals that arrive while one runs."""

import json
from pathlib import Path

import pytest
from support.called import virc
from support.servers import serve
from support.solving import call, picture

from virc.tools import registry as tools

EXITS = """\
NAME, TEMPLATE = "leave", "after_image"
PARAMETERS = {"type": "object", "properties": {}}
SCHEMA = {"type": "function", "function": {"name": NAME, "description": "Leave.", "parameters": PARAMETERS}}


def apply(call, source):
    raise SystemExit(3)
"""


def test_a_tool_that_exits_costs_the_rows_that_call_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "_CUSTOM", {})
    (tmp_path / "leave.py").write_text(EXITS)
    (tmp_path / "mine.yaml").write_text("name: mine\ntools: [crop_image, ./leave.py]\n")
    image = str(picture(tmp_path / "a.png", 112, 56))
    rows = [{"id": each, "image": image, "question": "What is it?"} for each in range(2)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with serve([call("leave")] * 2) as server:
        words = (tmp_path / "rows.jsonl", "--to", tmp_path / "answers.jsonl")
        done = virc("batch", *words, "--endpoint", server.url, "--system", tmp_path / "mine.yaml")
    errors = [json.loads(line)["error"]["message"] for line in (tmp_path / "answers.jsonl").read_text().splitlines()]
    assert done.code != 0
    assert len(errors) == 2
    assert all(f"the tool leave fails in line 7 of {tmp_path / 'leave.py'}: ExitError" in each for each in errors)
