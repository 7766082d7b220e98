"""Times in replies to benchmarks that ask when something happens, and their published figures."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from virc_extras.studies.intervals import Span
from virc_extras.video.benchmarks.media_rows import Graded, Values
from virc_extras.video.sampling import from_clock
from virc_extras.video.spans import hull_iou, span_of

_RECALLS = (0.3, 0.5, 0.7)
_RIGHT = 0.5
_CLOCKS = re.compile(r"\b(\d{1,2}:\d{2}(?::\d{2})?)\s*[–-]\s*(\d{1,2}:\d{2}(?::\d{2})?)\b")
_NUMBERS = re.compile(r"(\d+(?:\.\d+)?)\s*[–-]\s*(\d+(?:\.\d+)?)")
_ONE_CLOCK = re.compile(r"\b(\d{1,2}:\d{2}(?::\d{2})?)\b")
_ONE_NUMBER = re.compile(r"\b(\d+(?:\.\d+)?)\b")
_WITH_UNIT = re.compile(r"(\d+(?:\.\d+)?)\s*s?\s*[–-]\s*(\d+(?:\.\d+)?)\s*s?")
_EXAMPLE = "a specific example is : 20.8 - 30.0 seconds"
_WORDS = ("start", "end", "happen")


def said_span(reply: str) -> Span | None:
    """The first span that a reply names, the ends in order; None: it names none.

    Sentences that say when something starts, ends or happens are looked at alone, where there are some: for two clocks
    with a dash or `to` between them, two numbers likewise, clocks anywhere, the first number of each. JSON in one line,
    which names none so, is read as well, as Temporal-R1's program does before it.
    Source: EvolvingLMMs-Lab/lmms-eval@75571cf, lmms_eval/tasks/charades_sta/utils.py, extract_time.
    """
    text = reply.lower().replace(_EXAMPLE, "").replace("to", "-")
    sentences = re.split(r"[!?\n]", text)
    sentences = [each for each in sentences if any(word in each for word in _WORDS)] or sentences
    for pattern in (_CLOCKS, _NUMBERS):
        if found := next((found for each in sentences if (found := pattern.search(each))), None):
            return _in_order(*map(_seconds, found.groups()))
    clocks = [_seconds(each) for sentence in sentences for each in _ONE_CLOCK.findall(sentence)]
    numbers = [float(found[0]) for sentence in sentences if (found := _ONE_NUMBER.search(sentence))]
    for times in (clocks, numbers):
        if len(times) > 1:
            return _in_order(*times[:2])
    found = next((found for each in sentences if (found := _WITH_UNIT.search(each))), None)
    if found:
        return _in_order(*map(float, found.groups()))
    return span_of(reply) if text.startswith("{") else None


def _in_order(start: float, end: float) -> Span:
    return (start, end) if end > start else (end, start)


def _seconds(time: str) -> float:
    hours, minutes, seconds = ["0", "0", *time.split(":")][-3:]
    return from_clock(hours, minutes, seconds)


def graded(read: Callable[[str], Span | None], is_over: bool = False) -> Graded:
    """The rule of a benchmark whose answers are spans: right at an IoU of 0.5.

    Args:
        read: the span of a reply, or None.
        is_over: whether a recall needs more than its IoU, not as much.
    """

    def overlap(answer: str, fields: Mapping[str, Any]) -> float:
        span = read(answer)
        return hull_iou(span, tuple(fields["span"])) if span else 0.0

    def reaches(value: float, least: float) -> bool:
        return value > least if is_over else value >= least

    def measures(answer: str, fields: Mapping[str, Any]) -> Values:
        value = overlap(answer, fields)
        return {"mean IoU": value} | {f"R@{least}": float(reaches(value, least)) for least in _RECALLS}

    def right(answer: str, fields: Mapping[str, Any]) -> bool:
        return reaches(overlap(answer, fields), _RIGHT)

    return Graded(right, measures)


def problem_of(span: Sequence[float]) -> dict[str, Any]:
    """The fields of a problem whose answer is a span in seconds."""
    start, end = map(float, span)
    return {"answer": f"{start} - {end}", "span": [start, end]}
