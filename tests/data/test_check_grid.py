"""Rows of models whose patch grid is another than that of Qwen2-VL."""

import json
from pathlib import Path

from PIL import Image
from support.called import virc


def test_what_most_boxes_can_only_be_is_what_they_are_and_said(tmp_path: Path) -> None:
    """On 1400 x 560 px one box is too far right for thousandths, and another too low for pixels."""
    Image.new("RGB", (1400, 560)).save(tmp_path / "a.png")
    rows = []
    for number, box in enumerate(([1100, 100, 1300, 400], [1100, 0, 1300, 200], [100, 600, 400, 900])):
        look = json.dumps({"name": "crop_image", "arguments": {"bbox_2d": box, "image_index": 0}})
        turns = [
            {"role": "user", "content": "<image>Question: How much?"},
            {"role": "assistant", "content": f"<think>a</think><tool_call>{look}</tool_call>"},
        ]
        rows.append(json.dumps({"id": number, "messages": turns, "images": ["a.png"]}))
    (tmp_path / "rows.jsonl").write_text("\n".join(rows))
    (found,) = virc("data", "check", tmp_path / "rows.jsonl", "--workers", 1, "--json").json["datasets"]
    said = "as 2 of the first 3 boxes fit nothing else, and 1 the other"
    assert (found["coordinates"], found["why"]) == ("pixel", said)
