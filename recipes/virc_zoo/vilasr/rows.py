"""Rows of ViLaSR: questions of RL with their options and what is asked for, conversations in the words of the system.

Source: AntResearchNLP/ViLaSR@61669c0, verl/utils/dataset_multimodal.py.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from virc.systems import texts

_VIDEOS = ("video", "spatial_r1")
_SIZE = re.compile(r"\((?!0, 0\))\d+, \d+\)")
_KINDS = {"multiple choice": "letter", "regression": "word", "numerical": "word"}


def rows(row: Mapping[str, Any], number: int, layout: str, folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the row as the program asks it; of a conversation the system message without the size of a picture."""
    if layout != "rl":
        turns = [
            {**each, "content": _SIZE.sub("(width, height)", each["content"])} if each["role"] == "system" else each
            for each in row["conversations"]
        ]
        yield {**row, "conversations": turns}
        return
    said = {name: texts.text(Path(__file__).parent, name) for name in ("frames", "letter", "word", "first")}
    kind, is_video = row["question_type"], row["data_type"] in _VIDEOS
    options = [each.strip() for each in row.get("options") or ()] if kind == "multiple choice" else []
    asked = "\n".join((row["question"], *options)) + ("" if is_video else said["first"])
    asked += said.get(_KINDS.get(kind.lower(), ""), "")
    shown = {key: value for key, value in row.items() if key != "options"}
    yield {**shown, "question": (said["frames"] if is_video else "") + asked}
