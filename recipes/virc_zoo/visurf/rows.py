"""Rows of ViSurf have the right answer as a reply that is stored, in the form of the model's own, without a thought.

Source: arXiv:2510.10606, by a summary; dvlab-research/Seg-Zero, verl/utils/rl_dataset.py, which changes problems so.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from virc.core.errors import DataError


def rows(row: Mapping[str, Any], number: int, layout: str, folder: Path) -> Iterator[Mapping[str, Any]]:
    """Yield the row with its stored reply. Raises DataError: its solution is no JSON."""
    try:
        answer = json.dumps(json.loads(row["solution"]))
    except (TypeError, ValueError, RecursionError):
        raise DataError("its solution is no JSON") from None
    question = str(row["problem"]).lower().strip(".")
    yield {**row, "problem": question, "solution": answer, "stored_reply": f"<answer>{answer}</answer>"}
