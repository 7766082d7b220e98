"""At which times a clip is looked at: by time and never by frame number."""

import math

LEAST, MOST = 4, 32
"""Fewest and most frames of a clip that is shown at one frame a second."""
_STEPS = 100  # of a second: times are said with two decimals, and a frame is found again by the time that is said


def sampled_times(last: float, count: int) -> list[float]:
    """Return the times in seconds of `count` frames, evenly from the first to the last, each at the end of its
    hundredth of a second.

    Args:
        last: the time at which the last frame begins to be shown.
    """
    return [_said(last * number / max(count - 1, 1)) for number in range(count)]


def times_at_rate(length: float, fps: float) -> list[float]:
    """Return the times in seconds of one frame each 1/`fps` s, from the first on."""
    return [_said(number / fps) for number in range(max(1, math.ceil(length * fps - 1e-6)))]


def times_within(span: tuple[float, float], last: float, count: int) -> list[float]:
    """Return the times in seconds of `count` frames, evenly from the start of a span to its end, or to the last frame.

    Args:
        last: the time at which the last frame of the clip begins to be shown.
    """
    start, end = span[0], max(span[0], min(span[1], _said(last)))
    step = (end - start) / max(count - 1, 1)
    return [start, *(_said(start + step * number) for number in range(1, count - 1)), *([end] if count > 1 else [])]


def usual_times(length: float, last: float) -> list[float]:
    """Return the times of a first view: each second, or evenly from end to end where that is under 4 or over 32."""
    seconds = math.ceil(length - 1e-6)
    if LEAST <= seconds <= MOST:
        return times_at_rate(length, 1)
    return sampled_times(last, min(max(seconds, LEAST), MOST))


def clock(seconds: float) -> str:
    """A time as m:ss or h:mm:ss, with the decimals that it has: that of a frame names this frame and no other."""
    minutes, second = divmod(round(seconds, 6), 60)
    hours, minute = divmod(int(minutes), 60)
    text = f"{second:09.6f}".rstrip("0").rstrip(".")
    return f"{hours}:{minute:02}:{text}" if hours else f"{minute}:{text}"


def clock_up(seconds: float) -> str:
    """A length as `clock` writes it, up to the next hundredth of a second."""
    return clock(_said(seconds))


def from_clock(hours: str | None, minutes: str | None, seconds: str) -> float:
    """The seconds of a time whose parts are written so."""
    return 3600 * int(hours or 0) + 60 * int(minutes or 0) + float(seconds)


def _said(seconds: float) -> float:
    return math.ceil(seconds * _STEPS - 1e-6) / _STEPS
