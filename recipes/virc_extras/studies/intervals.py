"""Spans of time that are answers, compared with the right ones. A span is its start and its end, in seconds."""

from collections.abc import Sequence

Span = tuple[float, float]


def iou(found: Span, right: Span) -> float:
    """The intersection of two spans over their union, 0 to 1; 1 of two equal points in time.

    Source: Time-R1 (www-Ye/Time-R1@d1a0d54, src/open_r1/grpo_video.py, iou_timestamp_reward), which divides by the
    span around both: where that is not the union, the intersection is empty. As `iou_of_sets`.
    """
    return iou_of_sets([found], [right])


def iou_of_sets(found: Sequence[Span], right: Sequence[Span]) -> float:
    """The time that is in both sets over the time that is in either, 0 to 1; time that a set has twice counts once.

    A span that ends before it starts is none. Where neither set lasts, it is 1 if they are equal, and 0 if not.
    Source: VideoChat-R1 (OpenGVLab/VideoChat-R1@73b2ea9, src/open_r1/grpo_gqa.py, compute_iou), which gives 1 also
    where two sets of points differ, and adds up the negative length of a span that ends before it starts.
    """
    first, second = merged(found), merged(right)
    either = length(merged([*first, *second]))
    if not either:
        return float(first == second)
    return max(0.0, length(first) + length(second) - either) / either


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
