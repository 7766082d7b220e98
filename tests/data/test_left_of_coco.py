"""What of COCO belongs to no row, or would be wrong in one, is a fault."""

import json
from pathlib import Path
from typing import Any

import pytest
from support.called import virc

from virc.data.rows import raw

IMAGE = {"id": 1, "file_name": "a.png", "width": 9, "height": 9}
SQUARE = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]}
CATEGORY = {"id": 1, "name": "square"}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, None),
        ({"annotations": [SQUARE | {"iscrowd": "1"}]}, "iscrowd 1"),
        ({"annotations": [SQUARE | {"caption": "the red one"}]}, "a caption and a box"),
        ({"images": [IMAGE, IMAGE | {"file_name": "b.png"}]}, "images with the id of another"),
        ({"categories": [CATEGORY, CATEGORY | {"name": "circle"}]}, "categories with the id of another"),
    ],
)
def test_what_would_be_wrong_in_a_row_is_a_fault(changes: dict[str, Any], said: str | None, tmp_path: Path) -> None:
    whole = {"images": [IMAGE], "annotations": [SQUARE], "categories": [CATEGORY], **changes}
    (tmp_path / "coco.json").write_text(json.dumps(whole))
    faults = [str(each) for _, each in raw.rows(tmp_path / "coco.json") if isinstance(each, Exception)]
    assert len(faults) == (said is not None)
    assert not said or said in faults[0]


def test_pictures_that_are_not_there_are_named_and_counted(tmp_path: Path) -> None:
    file = tmp_path / "coco.json"
    file.write_text(json.dumps({"images": [IMAGE], "annotations": [SQUARE], "categories": [CATEGORY]}))
    done = virc("data", "convert", file, "--to", tmp_path / "out", "--format", "batch")
    assert "coco.json: the picture a.png that file_name names is not in" in done.err
    assert "(1 of the first 1 are missing)\nhint: copy the pictures there" in done.err
