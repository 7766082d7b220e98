"""The environment of docs/rewards-and-tools.md, in every command that asks a model: each is sent the same."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from docs.code_blocks import blocks
from support.called import virc
from support.servers import serve
from support.solving import answer, call

pytestmark = pytest.mark.integration

TURNS = (call("take_away", action="left"), call("take_away", action="right"), answer("right"))
FILES = ("take_away.py", "taking.py", "taking.yaml")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for block in blocks("docs/rewards-and-tools.md"):
        if block.marks.get("file") in FILES:
            (tmp_path / block.marks["file"]).write_text(block.text)
    program = "from take_away import tool; tool.first(7).save('0.png')"
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True)
    row = {"id": "1", "image": "0.png", "question": "Where is the disc?", "answer": "right"}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row) + "\n")
    return tmp_path


def by_command(folder: Path, *words: object) -> Any:
    with serve(TURNS) as server:
        done = virc(*words, "--endpoint", server.url, "--system", folder / "taking.yaml")
        assert done.code == 0, done.err
        return server.chats()[-1]["messages"]


def test_each_way_plays_the_same_episode(folder: Path) -> None:
    rows = folder / "rows.jsonl"
    question = json.loads(rows.read_text())["question"]
    solved = by_command(folder, "solve", folder / "0.png", question)
    sampling = ("--samples", 1, "--temperature", 1)
    ways = {
        "batch": by_command(folder, "batch", rows, "--to", folder / "out.jsonl"),
        "sample": by_command(folder, "data", "sample", rows, "--to", folder / "made", *sampling),
        "eval": by_command(folder, "eval", rows, "--to", folder / "eval"),
    }
    assert str(solved).count("'type': 'image_url'") == 3
    assert [name for name, messages in ways.items() if messages != solved] == []
