"""The environment of docs/rewards-and-tools.md, in every command that asks a model: each is sent the same."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from docs.code_blocks import blocks
from support import servers
from support.called import virc
from support.servers import serve
from support.solving import answer, call

from virc.stepped import marks
from virc.tools import registry

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


def test_an_eval_rewards_what_happened_in_each_episode(folder: Path) -> None:
    program = (
        "import json\nfrom take_away import tool, Scene\nscene, rows = Scene(), []\nfor at in range(20):\n"
        "    scene.reset(seed=at)\n    tool.first(at).save(f'{at}.png')\n"
        "    side = ('left', 'middle', 'right')[scene.place]\n"
        "    rows.append({'id': str(at), 'image': f'{at}.png', 'question': 'Where is the disc?', 'answer': side})\n"
        "open('rows.jsonl', 'w').write(''.join(json.dumps(row) + '\\n' for row in rows))"
    )
    subprocess.run([sys.executable, "-c", program], cwd=folder, check=True)

    def plays(body: servers.Body) -> str:
        """Takes the left block away, then the middle one, and says left where the disc was seen at once."""
        taken = len(body["messages"]) // 2 - 1
        return (call("take_away", action="left"), call("take_away", action="middle"), answer("left"))[taken]

    system, rows = folder / "taking.yaml", folder / "rows.jsonl"
    with serve(plays) as server:
        words = ("--endpoint", server.url, "--system", system, "--reward", system, "--to", folder / "eval", "--json")
        done = virc("eval", rows, *words, "--max-turns", 5)
    assert done.code == 0, done.err
    sides = [json.loads(line)["answer"] for line in rows.read_text().splitlines()]
    assert {"left", "middle", "right"} == set(sides)
    found = done.json["models"][0]["reward"]
    # a term is the mean over the replies of a conversation: the disc behind the middle is seen from the second on
    seen = sum({"left": 1, "middle": 2 / 3, "right": 0}[side] for side in sides)
    assert found["found"]["mean"] == pytest.approx(seen / 20)
    # an episode that ended at the first block has one step: the second call costs a sentence
    worth = [1 + 1 - 1 / 3 if side == "left" else 0 for side in sides]
    assert found["total"]["mean"] == pytest.approx(sum(worth) / 20)


def test_episode_number_is_that_of_the_row(folder: Path) -> None:
    from PIL import Image

    (name,) = registry.load([str(folder / "take_away.py")])
    assert name == "take_away"
    assert marks.number_in(Image.open(folder / "0.png")) == 7
