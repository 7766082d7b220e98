"""A user's reward that holds the boxes of a thought against those of the row, as TreeVGR (arXiv:2507.07999) does."""

import json
from pathlib import Path

import pytest
from PIL import Image
from support.called import virc

ROW = [[100, 200, 300, 420]]
SYSTEM = """name: treevgr
coordinates: pixel
tools: none
reward: {total: ./treevgr.py}
chat_protocol:
  system: ""
  first: "{question}"
  image_line: ""
  after_image: ""
  grammar: {calls: []}
"""
REWARD = """import re

from virc.scoring.boxes import boxes_of_row, iou, read_boxes

TERMS = ("answer", "format", "dual_iou")


def dual_iou(sample, means):
    texts = re.findall(r"<box>(.*?)</box>", sample.text)
    written = [each.box for text in texts for each in read_boxes(text, sample.prompt.view, sample.prompt.original)]
    wanted = boxes_of_row(sample.prompt.columns) or []
    if not written or not wanted:
        return 0.0
    recall = sum(max(iou(one, other) for other in written) for one in wanted) / len(wanted)
    precision = sum(max(iou(one, other) for other in wanted) for one in written) / len(written)
    return (recall + precision) / 2


def total(t):
    return (t.answer or 0.0) + t.format + t.dual_iou
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The system and its reward, and a row of RL in it, of a picture that is shown as it is."""
    folder = tmp_path_factory.mktemp("treevgr")
    (folder / "treevgr.yaml").write_text(SYSTEM)
    (folder / "treevgr.py").write_text(REWARD)
    Image.new("RGB", (812, 588), "white").save(folder / "p.png")
    row = {"question": "Where is the cup?", "answer": "left", "image": "p.png", "boxes": ROW}
    (folder / "rows.jsonl").write_text(json.dumps(row))
    columns = {"question": "question", "answer": "answer", "images": "image", "boxes": "boxes", "box": "corners"}
    (folder / "layout.yaml").write_text(
        "".join(f"{key}: {value}\n" for key, value in {"about": "cups", **columns}.items())
    )
    words = ("--layout", folder / "layout.yaml", "--system", folder / "treevgr.yaml", "--format", "rl")
    made = virc("data", "convert", folder / "rows.jsonl", *words, "--to", folder / "rows")
    assert made.code == 0, made
    return folder


@pytest.mark.parametrize(
    ("reply", "terms"),
    [
        ("<think>It <box>[100, 200, 300, 420]</box> is.</think><answer>left</answer>", (1, 1, 1)),
        ("<think><box>[100, 200, 300, 420]</box> <box>[0, 0, 9, 9]</box></think><answer>left</answer>", (1, 1, 0.75)),
        ("<think><box>[100, 200, 200, 420]</box></think><answer>right</answer>", (0, 1, 0.5)),
        ("<think>It is.</think><answer>left</answer>", (1, 1, 0)),
    ],
)
def test_boxes_of_a_thought_count_both_ways(reply: str, terms: tuple[float, ...], folder: Path) -> None:
    (folder / "reply.txt").write_text(reply)
    words = ("--data", folder / "rows" / "rows.parquet", "--reply", folder / "reply.txt", "--json")
    done = virc("rewards", "try", folder / "treevgr.yaml", *words)
    assert done.code == 0, done
    (unit,) = json.loads(done.out)["rows"]
    assert tuple(unit["terms"][name] for name in ("answer", "format", "dual_iou")) == pytest.approx(terms, abs=0.01)
    assert unit["total"] == pytest.approx(sum(terms), abs=0.02)
