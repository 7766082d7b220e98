"""Rows of RL of OpenVLThinker: the question without blanks around it, and pictures of 262,144 pixels.

Source: yihedeng9/OpenVLThinker, train/easyr1/examples/config.yaml, max_pixels and min_pixels, and the `trim` of
format_prompt/math_format.jinja beside it.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from virc_zoo.sized_pictures import with_sized

AREA = 262_144  # px


def rows(row: Mapping[str, Any], number: int, layout: str, folder: Path) -> Iterator[Mapping[str, Any]]:
    """Yield the row; of RL as the program shows it."""
    if layout == "rl":
        row = {**with_sized(row, "images", folder, AREA, AREA), "problem": str(row["problem"]).strip()}
    yield row
