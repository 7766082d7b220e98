"""Rows of MPCC are objects of COCO, which are covered; a thought on one, with its name, is a reply that is stored.

Source: yjainqdc/MPCC-GRPO_with_prior_sample, train_script/dataset.py, get_coco_sfpo_dataset.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from virc.core.errors import DataError
from virc.reasoning.encoded import as_png
from virc.systems import texts
from virc_zoo.mpcc.operators.hide import boxes_of, covered
from virc_zoo.sized_pictures import opened

_BLUR = 5  # px


def rows(row: Mapping[str, Any], number: int, layout: str, folder: Path) -> Iterator[Mapping[str, Any]]:
    """Yield the row as the program shows it. Raises DataError: its box is none in its picture."""
    picture = opened(row["file_name"], folder)
    boxes = boxes_of(row["bbox"], "xywh", picture.size)
    if not boxes:
        raise DataError("its bbox is no box in its picture")
    name, thought = row["category_name"], row.get("cot_data")
    stored = {"stored_reply": f"<think> {thought}</think><answer>{name}</answer>"} if thought is not None else {}
    shown = {"bytes": as_png(covered(picture, boxes, _BLUR)).data}
    yield {"question": texts.text(Path(__file__).parent, "asked"), "answer": name, "image": shown, **stored}
