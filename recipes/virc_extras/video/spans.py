"""Spans of time in answers: how they are read, and the published measures of how well one meets the right one.

A span is its start and its end in seconds. Times are numbers of seconds, or clocks such as 1:02.5 and 1:02:03.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from virc.rewards.context import UnscoredError
from virc_extras.studies.intervals import Span, iou
from virc_extras.video.sampling import from_clock

if TYPE_CHECKING:
    from virc.rewards.sample import Sample

LENGTHS = ("video_length", "duration")
"""Columns of a row with the length of its clip in seconds, the first that it has."""
_STARTS, _ENDS = ("start_time", "start", "start_sec", "begin"), ("end_time", "end", "end_sec", "stop")
_TIME = r"(?:(?:(\d{1,3}):)?(\d{1,4}):)?(\d{1,9}(?:\.\d{1,9})?)"
_TIMES = re.compile(rf"(?<![\d.:]){_TIME}(?![\d:]|\.\d)")
_INTERVAL = re.compile(r"<time_interval>(.{1,200}?)</time_interval>", re.DOTALL)
_MAX_TEXT = 4000


def span_of(text: str) -> Span | None:
    """Return the span that a text gives: in `<time_interval>`, as JSON, or as its only two times; None: it gives none.

    JSON is an object with a start and an end, such as `{"start_time": "3.5", "end_time": "8"}`, or a list of two. Ends
    that come the wrong way round are swapped.
    """
    text = text.strip()[:_MAX_TEXT]
    if marked := _INTERVAL.search(text):
        text = marked[1].strip()
    times = [*_of_json(text)] or [from_clock(*found.groups()) for found in _TIMES.finditer(text)]
    return (min(times), max(times)) if len(times) == 2 else None


def _of_json(text: str) -> Iterator[float]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return
    if isinstance(value, list) and len(value) == 1:
        (value,) = value
    if isinstance(value, Mapping):
        value = [next((value[key] for key in keys if key in value), None) for keys in (_STARTS, _ENDS)]
    if isinstance(value, list) and len(value) == 2:
        found = [_TIMES.fullmatch(str(each).strip()) for each in value]
        yield from (from_clock(*each.groups()) for each in found if each)


def hull_iou(found: Span, right: Span) -> float:
    """Return the intersection of two spans over the span around both, 0 to 1; 0 of a span that ends before it starts.

    It differs from the IoU for two equal points in time alone, which have 0 here and 1 there.
    Source: appletea233/Temporal-R1@f364f6c, verl/utils/reward_score/tvg.py, temporal_iou.
    """
    around = max(found[1], right[1]) - min(found[0], right[0])
    return max(0.0, min(found[1], right[1]) - max(found[0], right[0])) / around if around > 0 else 0.0


def ends_iou(found: Span, right: Span, length: float) -> float:
    """Return the IoU times the closeness of both ends, each 1 less its distance by the length of the clip; at most 1.

    It is under 0 where an end is further off than the clip is long, as published.
    Source: xiaomi-research/time-r1@7f2b594, finetune.py, iou_timestamp_reward_v2.
    """
    closeness = [1 - abs(one - other) / length for one, other in zip(found, right, strict=True)]
    return iou(found, right) * closeness[0] * closeness[1]


def spans_of(sample: "Sample", name: str) -> tuple[Span | None, Span]:
    """Return the span of a reply's answer and that of its row. Raises UnscoredError: the row has none."""
    right = span_of(sample.prompt.key.answer)
    if right is None:
        raise UnscoredError("the right answer is no span of time")
    found = span_of(sample.answer or "")
    if found is None:
        sample.why[name] = "the answer is no span of time"
    return found, right


def length_of(columns: Mapping[str, Any]) -> float:
    """Return the length of a row's clip in seconds. Raises UnscoredError: the row does not say it."""
    length = next((columns[name] for name in LENGTHS if columns.get(name) is not None), None)
    if not isinstance(length, int | float) or isinstance(length, bool) or not length > 0:
        raise UnscoredError(f"the row has no length of its clip in seconds: {' or '.join(LENGTHS)}")
    return float(length)
