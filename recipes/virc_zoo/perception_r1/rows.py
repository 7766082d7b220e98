"""Rows of Perception-R1 have pictures of 3,136 to 1,806,336 pixels.

Source: tongxiao2002/Perception-R1@c47eaf2, examples/run_qwen2_5_vl_7b_geo3k_visual_swanlab.sh, and
verl/utils/dataset.py, process_image.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from virc_zoo.sized_pictures import with_sized


def rows(row: Mapping[str, Any], number: int, layout: str, folder: Path) -> Iterator[Mapping[str, Any]]:
    """Yield the row with its pictures as the program shows them."""
    yield with_sized(row, "images", folder, 3_136, 1_806_336)
