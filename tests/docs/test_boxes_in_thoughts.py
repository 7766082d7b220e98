"""The reward of docs/grammar.md that holds the boxes of a thought against those of the row."""

import json
from pathlib import Path

import pytest
from code_blocks import blocks
from PIL import Image
from support.called import virc

ROW = [[100, 200, 300, 420]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page's system, and a row of RL in it, of a picture that is shown as it is."""
    folder = tmp_path_factory.mktemp("treevgr")
    for block in blocks("docs/grammar.md"):
        if block.marks.get("file", "").startswith("treevgr."):
            (folder / block.marks["file"]).write_text(block.text)
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
