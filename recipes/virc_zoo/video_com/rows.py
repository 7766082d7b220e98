"""Rows of Video-CoM: what was shown behind each step, and boxes in pixels of pictures as shown.

Source: mbzuai-oryx/Video-CoM@b58b6ce, train/src/dataset/sft_dataset.py, data_utils.py beside it, and
train/vision_process.py. What differs: frames of `frame_list` are not added to those of a clip.
"""

import re
from collections.abc import Iterator, Mapping
from itertools import accumulate
from pathlib import Path
from typing import Any

from virc.reasoning.encoded import as_png
from virc.reasoning.resize import Grid, smart_resize
from virc_zoo.sized_pictures import opened

SHOWN = Grid(max_pixels=128 * 28 * 28)
ZOOMS = "valid_zooms"
"""The column of numbers of frames, each with a box."""
_FRAMES = 16
_LAST = 0.01  # seconds before the end of a segment, where its last frame is still shown


def with_clips(row: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The row with a clip or picture for each mark in its turns; `at` has the times of a clip's frames."""
    whole, pictures = {"video": row.get("video")}, [row["image"]] if "image" in row else []
    clips, turns = [whole] if whole["video"] else [], [dict(each) for each in row["conversations"]]
    media = [each.pop("media", None) or {} for each in turns]
    for at, shown in enumerate(media):
        turns[at]["value"] = re.sub(r"\n?(<video>|<image>)\n?", r"\1", turns[at]["value"])
        if at and shown.get("type") == "video":
            clips.append({**whole, "at": _times(shown)})
        elif at and shown.get("type") == "image":
            pictures.append(shown["image"])
        if shown.get("bbox") and at + 1 < len(turns):
            turns[at + 1]["value"] = _scaled(turns[at + 1]["value"], shown["bbox"], opened(pictures[-1], folder).size)
    left = {name: value for name, value in row.items() if name not in ("video", "image")}
    shown_as = {"videos": clips} if clips else {}
    return {**left, **shown_as, "images": [_sized(each, folder) for each in pictures], "conversations": turns}


def rows(row: Mapping[str, Any], number: int, layout: str, folder: Path) -> Iterator[Mapping[str, Any]]:
    """Yield the row: of SFT with its system message, of RL with its boxes in a column that no layout reads."""
    if layout == "sft":
        row = {**(with_clips(row, folder) if "image" in row else row), "system": "You are a helpful assistant."}
    elif "valid_bounding_box" in row:
        row = {**row, ZOOMS: row["valid_bounding_box"]}
    yield row


def _times(media: Mapping[str, Any]) -> list[float]:
    """16 times in seconds, evenly from the start of the first range to the end of the last, over all of them."""
    ranges = media.get("time_ranges") or [{"start": media.get("start_time") or 0.0, "end": media["end_time"]}]
    spans = sorted((float(each["start"]), float(each["end"]) - _LAST) for each in ranges)
    passed = [0.0, *accumulate(end - start for start, end in spans)]

    def time_at(share: float) -> float:
        sought = share * passed[-1]
        number = max(at for at in range(len(spans)) if passed[at] <= sought)
        return round(spans[number][0] + sought - passed[number], 2)

    return [time_at(at / (_FRAMES - 1)) for at in range(_FRAMES)]


def _sized(name: Any, folder: Path) -> dict[str, bytes]:
    image = opened(name, folder)
    return {"bytes": as_png(image.resize(smart_resize(*image.size, SHOWN))).data}


def _scaled(text: str, boxes: Any, size: tuple[int, int]) -> str:
    scales = [shown / side for shown, side in zip(smart_resize(*size, SHOWN), size, strict=True)] * 2
    for box in boxes:
        text = text.replace(str(box), str([int(side * by) for side, by in zip(box, scales, strict=True)]))
    return text
