"""Rows of Pixel Reasoner: of SFT each frame of a video is a picture of its own.

Source: TIGER-AI-Lab/Pixel-Reasoner@a3a6c3a, instruction_tuning/vlm_modules/qwen_module.py.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


def rows(row: Mapping[str, Any], number: int, layout: str, folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the row, in whose turns no part is a video."""
    turns = row.get("message_list") or ()
    talk = {"message_list": [{**each, "content": _parts(each["content"])} for each in turns]} if turns else {}
    yield {**row, **talk}


def _parts(content: Any) -> Any:
    if not isinstance(content, list):
        return content
    return [each for part in content for each in ([{"image": frame} for frame in part.get("video") or ()] or [part])]
