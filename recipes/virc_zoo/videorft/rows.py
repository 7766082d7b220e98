"""Rows of VideoRFT: the problem with sentences for a thought and a kind of answer; in SFT with a system message.

Source: QiWang98/VideoRFT@bba6099, src/r1-v/src/open_r1: grpo.py, make_conversation_image_and_video; sft_video.py.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from virc.core.errors import DataError
from virc.core.text import plain
from virc.systems import texts

KINDS = {
    "multiple choice": "choice",
    "OCR": "reading",
    "free-form": "text",
    "numerical": "number",
    "regression": "number",
}


def rows(row: Mapping[str, Any], number: int, layout: str, folder: Path) -> Iterator[Mapping[str, Any]]:
    """Yield the row. Raises DataError: its kind is none of these."""
    kind = KINDS.get(str(row.get("problem_type")))
    if kind is None:
        raise DataError(
            f"its problem_type is {plain(str(row.get('problem_type')), 60)!r}, which is none of {', '.join(KINDS)}"
        )
    own = Path(__file__).parent
    told = {"system": texts.text(own, "system")} if layout == "sft" else {}
    yield {**row, **told, "problem": row["problem"] + texts.filled(f"\n{{text:user}}{{text:{kind}}}", own)}
