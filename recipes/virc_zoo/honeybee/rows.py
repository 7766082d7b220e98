"""Rows of HoneyBee: those of OpenThoughts3 are text alone; a CSV file, as on the hub, has an empty path there.

Marks of pictures leave the question, as in core/data/conversation.py of facebookresearch/perception_models.
"""

import re
from typing import Any

MARK = re.compile(r"<(?:image|video)>\n|\n?<(?:image|video)>")


def rows(row: dict[str, Any], *_: object) -> list[dict[str, Any]]:
    """The row with a question without marks, and without a picture where its path is empty."""
    return [{**row, "image_path": row.get("image_path") or None, "question": MARK.sub("", row.get("question") or "")}]
