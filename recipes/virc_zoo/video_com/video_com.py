"""The reward of Video-CoM: the letter of the answer, and the share of right steps of all that its replies name. 0 to 2.

A segment is right if the row lists it, a frame if it is in one of the row's ranges, a box if its IoU with that of the
frame before it is 0.35 or more; boxes of other frames, and kinds of steps that the row has nothing of, do not count.
Each number counts once, a box each time. As published, the answer is behind the last FINAL_ANSWER:, else all that was
written, and its first letter counts if it is A to E; and `FIND_SEGMENT(3) = 7` is 3: where another phrase stands
before a single number, no segment counts.
Source: mbzuai-oryx/Video-CoM@b58b6ce, train/src/train/reward_funcs.py, reasoning_reward, and reward_utils.py. The row's
boxes are brought to the frame as shown as src/dataset/grpo_dataset.py means to, which raises there.
"""

import re
from collections.abc import Callable, Collection, Sequence
from typing import Any, TypeVar

from virc.reasoning.resize import smart_resize
from virc.rewards.context import RewardContext
from virc.rewards.sample import Sample
from virc_zoo.rollouts import of_last_reply
from virc_zoo.video_com.rows import SHOWN, ZOOMS
from virc_zoo.video_com.tools._written import LIST, SINGLE

TERMS = ("right", "steps")
whole = of_last_reply
_LEAST = 0.35
_SEGMENT, _FRAME, _ZOOM = "FIND_SEGMENT", "FIND_FRAME", "SPATIAL_ZOOM"
_FOUR = r"(\d+)\s*,\s*(\d+)\s*,\s*(\d+)\s*,\s*(\d+)"
_SINGLE_BOXES = [re.compile(rf"{_ZOOM}\(.*?\)\s*=\s*{four}", re.IGNORECASE) for four in (rf"\({_FOUR}\)", _FOUR)]
Box = Sequence[float]
T = TypeVar("T")


def right(sample: Sample, context: RewardContext) -> float:
    """Whether the answer begins with the letter of the row's, or is the same text: 1 or 0."""
    said = _text(sample).rpartition("FINAL_ANSWER:")[2]
    return float(_letter(said) == _letter(sample.prompt.record.answer or ""))


def steps(sample: Sample, context: RewardContext) -> float:
    """The share of right steps, 0 to 1; 0 where none counts."""
    text, row = _text(sample), sample.prompt.columns
    segments, ranges = row.get("valid_segments") or [], row.get("valid_frames") or []
    found = [number in segments for number in _read(_segments, text) if segments]
    if ranges:
        found += [any(first <= number <= last for first, last in ranges) for number in _read(_frames, text)]
    if boxes := row.get(ZOOMS):
        size = sample.prompt.original
        scales = [shown / side for shown, side in zip(smart_resize(*size, SHOWN), size, strict=True)] * 2
        read = [(int(frame), box) for frame, box in boxes if len(box or ()) == len(scales)]  # as published
        wanted = {frame: [round(side * by) for side, by in zip(box, scales, strict=True)] for frame, box in read}
        found += [_iou(box, wanted[frame]) >= _LEAST for frame, box in _read(_boxes, text) if frame in wanted]
    return sum(found) / len(found) if found else 0.0


def total(t: Any) -> float:
    """The reward of the replies up to and with this one."""
    return float(t.right + t.steps)


def _text(sample: Sample) -> str:
    said = (message.content for message in sample.prompt.record.messages if message.role == "assistant")
    return "".join((*said, sample.text))


def _letter(answer: str) -> str:
    answer = answer.strip()
    return answer[:1].upper() if re.match("[A-Ea-e]", answer) else answer


def _call(name: str, line: str) -> tuple[str, list[int], bool] | None:
    """The phrase and numbers of a line's first call of that name, and whether they are a list; None: it has none."""
    if name in line and (found := re.search(name + LIST, line, re.IGNORECASE)):
        return found[1], [int(each) for each in found[2].split(",") if each.strip().isdigit()], True
    if name in line and (found := re.search(name + SINGLE, line, re.IGNORECASE)):
        return found[1], [int(found[2])], False
    return None


def _segments(lines: Sequence[str]) -> set[int]:
    calls = [call for line in lines if (call := _call(_SEGMENT, line))]
    return {number for phrase, found, is_list in calls for number in (found if is_list else [int(phrase.strip())])}


def _frames(lines: Sequence[str]) -> set[int]:
    return {number for line in lines if (call := _call(_FRAME, line)) for number in call[1]}


def _boxes(lines: Sequence[str]) -> list[tuple[int, Box]]:
    """The boxes, each with the last number of the frame that was named before it."""
    frame, found = None, list[tuple[int | None, Box]]()
    for line in lines:
        if (call := _call(_FRAME, line)) and call[1]:
            frame = call[1][-1]
        numbers = call[1] if (call := _call(_ZOOM, line)) and call[2] else []
        found += [(frame, numbers[at : at + 4]) for at in range(0, len(numbers) - 3, 4)]
        if _ZOOM in line:
            singles = (form.search(line) for form in _SINGLE_BOXES)
            found += [(frame, [*map(int, each.groups())]) for each in singles if each]
    return [(number, box) for number, box in found if number is not None]


def _read(read: Callable[[Sequence[str]], Collection[T]], text: str) -> Collection[T]:
    """What is read of the lines of a text; nothing where one of its numbers is none, or has thousands of digits."""
    try:
        return read(text.split("\n"))
    except ValueError:
        return ()


def _iou(one: Box, other: Box) -> float:
    wide, high = (max(0, min(one[at + 2], other[at + 2]) - max(one[at], other[at])) for at in (0, 1))
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return wide * high / (sum(areas) - wide * high + 1e-6)
