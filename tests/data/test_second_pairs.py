"""Rows with two pairs, as VisRL learns from them: of boxes, and of answers to the crop by the better box."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.called import virc

# zhangquanchen/VisRL, src/visrl_stage2/data/aligner.py, crop_and_convert_to_image, on pictures whose pixels say where
# they are: size of the picture, box, and left, top, right, bottom of what it cut out. 0.7 of 180 is 125 there.
CUTS = [
    ((180, 103), [0.2, 0.5, 0.7, 0.6], (36, 51, 125, 61)),
    ((178, 216), [0.19, 0.34, 0.27, 0.68], (33, 73, 48, 146)),
    ((103, 240), [0.423, 0.051, 0.951, 0.168], (43, 12, 97, 40)),
    ((62, 81), [0.02, 0.08, 0.54, 0.5], (1, 6, 33, 40)),
]


def written(folder: Path, size: tuple[int, int], box: object, **changes: Any) -> Path:
    folder.mkdir(exist_ok=True)
    ramp = (Image.linear_gradient("L").resize(size), Image.radial_gradient("L").resize(size), Image.new("L", size))
    Image.merge("RGB", ramp).save(folder / "0.png")
    row = {
        "conversations": [{"from": "human", "value": "<image>\nWhat is there?"}],
        "chosen": {"from": "gpt", "value": "A dog."},
        "rejected": {"from": "gpt", "value": "A cat."},
        "chosen_step": {"from": "gpt", "value": str(box)},
        "rejected_step": {"from": "gpt", "value": "[0.1, 0.1, 0.2, 0.2]"},
        "images": ["0.png"],
    }
    file = folder / "demo_rl_data_10k.json"
    file.write_text(json.dumps([row | changes]))
    return file


def converted(file: Path, to: Path) -> list[dict[str, Any]]:
    done = virc("data", "convert", file, "--system", "visrl", "--to", to, "--format", "pairs", "--name", "both")
    assert done.code == 0, done.err
    return [json.loads(line) for line in (to / "both.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(("size", "box", "edges"), CUTS)
def test_the_second_pair_shows_the_part_of_the_better_box(
    size: tuple[int, int], box: list[float], edges: tuple[int, int, int, int], tmp_path: Path
) -> None:
    boxes, answers = converted(written(tmp_path / "from", size, box), tmp_path / "to")
    assert (boxes["chosen"]["content"], boxes["rejected"]["content"]) == (str(box), "[0.1, 0.1, 0.2, 0.2]")
    assert (answers["chosen"]["content"], answers["rejected"]["content"]) == ("A dog.", "A cat.")
    assert boxes["messages"] == [{"role": "user", "content": "<image>\nWhat is there?"}]
    assert answers["messages"] == [{"role": "user", "content": "<image>\nWhat is there?\n<image>"}]
    assert [len(row["images"]) for row in (boxes, answers)] == [1, 2]
    whole, part = (Image.open(tmp_path / "to" / name) for name in answers["images"])
    assert part.tobytes() == whole.crop(edges).tobytes()
    assert "chosen_step" not in answers
    assert "rejected_step" not in answers
