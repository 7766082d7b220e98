"""Parquet that others made: rows are read in every form, and a wrong one says what is wrong with it."""

from pathlib import Path
from typing import Any

import pytest
from data.parquet_sets import IMAGE, info, only, read, row


@pytest.mark.parametrize(
    ("images", "names", "data"),
    [
        ([{"bytes": IMAGE, "path": "a.png"}], ["a.png"], [IMAGE]),
        ([{"bytes": None, "path": "i/a.png"}], ["i/a.png"], [None]),
        ([{"image": IMAGE}], [""], [IMAGE]),
        ('["i/a.png"]', ["i/a.png"], [None]),
        (..., [], []),
    ],
)
def test_images_are_read_in_every_form(tmp_path: Path, images: Any, names: list[str], data: list[Any]) -> None:
    record = only(read(tmp_path, row(images=images)))
    assert [picture.name for picture in record.images] == names
    assert [picture.data for picture in record.images] == data
    assert {picture.folder for picture in record.images} <= {tmp_path}
    assert all(picture.confined for picture in record.images)


def test_an_image_outside_the_folder_is_not_opened(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(IMAGE)
    (tmp_path / "set").mkdir()
    for name in (f"file://{tmp_path}/x.png", "../x.png", f"{tmp_path}/x.png"):
        (picture,) = only(read(tmp_path / "set", row(images=[{"image": name}]))).images
        with pytest.raises(OSError, match="outside"):
            picture.read()


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"prompt": None}, "prompt is empty"),
        ({"prompt": "[" * 100_000}, "prompt is not JSON"),
        ({"prompt": [{"role": "user", "content": None}]}, "prompt is not a list of messages"),
        ({"prompt": 5}, "prompt is not a list"),
        ({"images": [5]}, "image 0 is neither"),
        ({"extra_info": "[]"}, "extra_info is not an object"),
        (info(reference=[1]), "extra_info.reference is not text"),
        (info(id="x", id_is_int=True), "extra_info.id is not the whole number"),
    ],
)
def test_a_wrong_row_says_what_is_wrong(tmp_path: Path, changed: dict[str, Any], sentence: str) -> None:
    (found,) = read(tmp_path, row(**changed))
    assert found.fault
    assert found.fault.message.startswith(f"row 1: {sentence}")
