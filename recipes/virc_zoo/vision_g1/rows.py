"""Rows of Vision-G1 have pictures of 200,704 to 1,003,520 pixels; smaller ones are enlarged by the nearest pixel.

Source: yuh-zha/Vision-G1@1f2c30f, training/verl/utils/dataset/rl_dataset.py, process_image.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from virc_zoo.sized_pictures import with_sized


def rows(row: Mapping[str, Any], number: int, layout: str, folder: Path) -> Iterator[Mapping[str, Any]]:
    """Yield the row with its pictures as the program shows them."""
    yield with_sized(row, "images", folder, 200_704, 1_003_520, Image.Resampling.NEAREST)
