"""Problems of Curr-ReFT are asked with the sentence of their stage and task, which the program puts behind them."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from virc.systems import texts

_ASKED = {
    "judge": "judge", "choice_classify": "letters", "choice": "letter", "detection": "box", "coco_vqa": "vqa",
    "problems": "user",
}  # fmt: skip
"""Layout -> the text of its sentence."""


def rows(row: Mapping[str, Any], number: int, layout: str, folder: Path) -> Iterator[Mapping[str, Any]]:
    """Yield the row; a problem with its sentence, a conversation of text with no images."""
    if layout in _ASKED:
        asked = f"{row['problem']} {texts.text(Path(__file__).parent, _ASKED[layout])}"
        row = {**row, "problem": asked, "whole_solution": row.get("solution")}  # thoughts, too: a reward parses them
    yield row if layout in _ASKED else {"images": [], **row}
