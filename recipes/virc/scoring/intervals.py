"""Spans of a line, such as of time in seconds: start and end."""

from collections.abc import Sequence

Span = tuple[float, float]


def merged(spans: Sequence[Span]) -> list[Span]:
    """The spans in order, those that overlap or touch as one."""
    joined: list[Span] = []
    for start, end in sorted(each for each in spans if each[0] <= each[1]):
        if joined and start <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(joined[-1][1], end)
        else:
            joined.append((start, end))
    return joined


def length(spans: Sequence[Span]) -> float:
    """How long spans are together; none overlaps another."""
    return sum(end - start for start, end in spans)
