"""Rows of Vision-G1 have pictures of 200,704 to 1,003,520 pixels whose sides 28 divides, by a bicubic filter.

Source: yuh-zha/Vision-G1@1f2c30f, training/verl/utils/dataset/rl_dataset.py, process_image.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from virc.reasoning.encoded import as_png
from virc.reasoning.resize import Grid, smart_resize
from virc_zoo.sized_pictures import opened


def rows(row: Mapping[str, Any], number: int, layout: str, folder: Path) -> Iterator[Mapping[str, Any]]:
    """Yield the row with its pictures as the program shows them."""
    images, grid = [opened(each, folder) for each in row["images"]], Grid(min_pixels=200_704, max_pixels=1_003_520)
    yield {**row, "images": [{"bytes": as_png(each.resize(smart_resize(*each.size, grid))).data} for each in images]}
