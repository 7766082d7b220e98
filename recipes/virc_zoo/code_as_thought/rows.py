"""Rows of Code-as-Thought have pictures of 262,144 to 4,194,304 pixels, as EasyR1 brings them to where none is set."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from virc_zoo.sized_pictures import with_sized


def rows(row: Mapping[str, Any], number: int, layout: str, folder: Path) -> Iterator[Mapping[str, Any]]:
    """Yield the row with its picture at the size of training."""
    yield with_sized(row, "image", folder, 262_144, 4_194_304)
