"""Rows of RL of OpenVLThinker: the question without blanks around it, and pictures of 262,144 pixels.

Source: yihedeng9/OpenVLThinker, train/easyr1/verl/utils/dataset.py, process_image, with max_pixels and min_pixels of
examples/config.yaml, and the `trim` of examples/format_prompt/math_format.jinja.
"""

import math
import operator
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from virc.core.text import plain
from virc.data.rows.record import Picture
from virc.reasoning.encoded import as_png
from virc.reasoning.opening.pictures import open_image

_AREA = 262_144  # px


def rows(row: Mapping[str, Any], number: int, layout: str, folder: Path) -> Iterator[Mapping[str, Any]]:
    """Yield the row; of RL as the program shows it."""
    if layout != "rl":
        yield row
        return
    images = [{"bytes": as_png(resized(_opened(each, folder))).data} for each in row["images"]]
    yield {**row, "problem": str(row["problem"]).strip(), "images": images}


def resized(image: Image.Image) -> Image.Image:
    """Return a picture whose area is near 262,144 px: shrunk or enlarged by one ratio, sides rounded down."""
    for is_outside in (operator.gt, operator.lt):
        area = image.width * image.height
        if is_outside(area, _AREA):
            ratio = math.sqrt(_AREA / area)
            image = image.resize((int(image.width * ratio), int(image.height * ratio)))
    return image


def _opened(image: Any, folder: Path) -> Image.Image:
    fields = image if isinstance(image, Mapping) else {"path": image}
    picture = Picture(fields.get("path") or "", folder, fields.get("bytes"))
    return open_image(picture.read(), plain(picture.name or "an image", 80))
