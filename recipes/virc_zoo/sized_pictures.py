"""Pictures of rows at the size that EasyR1 brings them to before the model's processor sees them.

Source: hiyouga/EasyR1, verl/utils/dataset.py, process_image, and its copies in the repositories of systems.
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


def resized(image: Image.Image, least: int, most: int) -> Image.Image:
    """Return a picture of `least` to `most` pixels: by one ratio, sides rounded down, with a bicubic filter."""
    for is_outside, limit in ((operator.gt, most), (operator.lt, least)):
        area = image.width * image.height
        if is_outside(area, limit):
            ratio = math.sqrt(limit / area)
            image = image.resize((int(image.width * ratio), int(image.height * ratio)), Image.Resampling.BICUBIC)
    return image


def with_sized(row: Mapping[str, Any], column: str, folder: Path, least: int, most: int) -> dict[str, Any]:
    """Return a row whose pictures, one or a list in a column, are brought to `least` to `most` pixels."""
    given = row[column] if isinstance(row[column], list | tuple) else [row[column]]
    sized = [{"bytes": as_png(resized(opened(each, folder), least, most)).data} for each in given]
    return {**row, column: sized}


def sized_rows(
    row: Mapping[str, Any], number: int, layout: str, folder: Path, **sizes: Any
) -> Iterator[Mapping[str, Any]]:
    """Yield the row, as `rows` of a system does, with what `with_sized` is given besides row and folder."""
    yield with_sized(row, folder=folder, **sizes)


def opened(image: Any, folder: Path) -> Image.Image:
    """Return a picture of a row, given by its place below the folder or by its bytes."""
    if isinstance(image, bytes):
        image = {"bytes": image}
    fields = image if isinstance(image, Mapping) else {"path": image}
    picture = Picture(fields.get("path") or "", folder, fields.get("bytes"))
    return open_image(picture.read(), plain(picture.name or "an image", 80))
