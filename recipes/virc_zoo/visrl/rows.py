"""Rows of VisRL's second stage have two pairs: of boxes, and of answers to the crop by the better box.

Source: zhangquanchen/VisRL, src/visrl_stage2/data/aligner.py, convert_sharegpt and crop_and_convert_to_image.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from virc.core.errors import DataError
from virc.core.text import plain
from virc.data.rows.laid_out import boxes_of, message_of
from virc.data.rows.record import Picture, Record
from virc.reasoning.encoded import as_png
from virc.reasoning.opening.pictures import open_image
from virc.reasoning.protocol import Protocol

_UNIT = Protocol("", "", "", "", "", coordinates="unit")


def rows(row: Mapping[str, Any], number: int, layout: str, folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the row; of the layout `pairs` both of its pairs, the second behind a picture of the better box."""
    if layout != "pairs":
        yield dict(row)
        return
    answers = {f"{side}_step": row[side] for side in ("chosen", "rejected")}
    boxes = {key: value for key, value in row.items() if key not in ("chosen", "rejected")}
    yield {**boxes, "id": f"{number}-1"}
    crop = {"bytes": _crop(message_of(row["chosen_step"], 1).content, row["images"][0], folder)}
    turns = [*row["conversations"]]
    last = next((at for at in reversed(range(len(turns))) if message_of(turns[at], at + 1).role == "user"), None)
    if last is None:
        raise DataError("no turn of the user is there, behind which its second pair would ask")
    turns[last] = {"from": "human", "value": message_of(turns[last], last + 1).content + "\n<image>"}
    yield {**boxes, **answers, "conversations": turns, "images": [*row["images"], crop], "id": f"{number}-2"}


def _crop(text: str, image: Any, folder: Path) -> bytes:
    """Return the part of an image that a text names, as PNG; the edges of its box are rounded down to pixels."""
    fields = image if isinstance(image, dict) else {"path": image}
    picture = Picture(fields.get("path") or "", folder, fields.get("bytes"))
    boxes = boxes_of(text, Record(images=(picture,)), _UNIT) or []
    if len(boxes) != 1:
        raise DataError(f"the part of its second pair is not one box: {plain(text, 80)}")
    pixels = open_image(picture.read(), plain(picture.name or "an image", 80))
    left, top, right, bottom = map(int, boxes[0])
    box = (max(left, 0), max(top, 0), min(right, pixels.width), min(bottom, pixels.height))
    if box[0] >= box[2] or box[1] >= box[3]:
        raise DataError(f"the part of its second pair has no pixels: {plain(text, 80)}")
    return as_png(pixels.crop(box)).data
