"""Rows of ThinkLite-VL have pictures of 262,144 to 4,194,304 pixels, as EasyR1 brought them to at that time.

Source: hiyouga/EasyR1@39cab8f, examples/config.yaml, and verl/utils/dataset.py, process_image.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from virc_zoo.sized_pictures import with_sized


def rows(row: Mapping[str, Any], number: int, layout: str, folder: Path) -> Iterator[Mapping[str, Any]]:
    """Yield the row with its picture as the program shows it."""
    yield with_sized(row, "image", folder, 262_144, 4_194_304)
