"""Rows of VPPO: the question without blanks around it, and pictures of 200,704 to 1,003,520 pixels.

Source: huaixuheqing/VPPO-RL@a23c54b, examples/configs/config.yaml, max_pixels and min_pixels, and the `trim` of
format_prompt/math_format_perception.jinja.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from virc_zoo.sized_pictures import with_sized

LEAST, MOST = 200_704, 1_003_520  # px


def rows(row: Mapping[str, Any], number: int, layout: str, folder: Path) -> Iterator[Mapping[str, Any]]:
    """Yield the row as the program shows it."""
    yield {**with_sized(row, "images", folder, LEAST, MOST), "problem": str(row["problem"]).strip()}
