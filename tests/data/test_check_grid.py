"""Rows of models whose patch grid is another than that of Qwen2-VL."""

import json
from pathlib import Path

from PIL import Image
from support.called import virc


def test_sizes_are_checked_on_the_grid_of_a_family(tmp_path: Path) -> None:
    """Sides of an image of 330 x 290 px are multiples of 32 on the grid of Qwen3-VL, and of 28 on that of Qwen2-VL."""
    Image.new("RGB", (330, 290)).save(tmp_path / "a.png")
    turns = [
        {"role": "user", "content": "<image>Image 0: 320 x 288.\nQuestion: How much?"},
        {"role": "assistant", "content": "<think>a</think><answer>1</answer>"},
    ]
    (tmp_path / "rows.jsonl").write_text(json.dumps({"id": 1, "messages": turns, "images": ["a.png"]}))
    there = virc("data", "check", tmp_path / "rows.jsonl", "--family", "qwen3-vl")
    assert there.code == 0, there.out
    other = virc("data", "check", tmp_path / "rows.jsonl")
    assert other.code == 5
    assert "image 0 is announced with 320 x 288, and is shown at 336 x 280 px" in other.out
    assert virc("data", "check", tmp_path / "rows.jsonl", "--family", "nobody").code == 3
