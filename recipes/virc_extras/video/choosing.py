"""Which pages and times a user means."""

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from typing import Any

from virc.core.errors import DataError, UsageError
from virc.reasoning.media import LAST_PAGE, MOST_CHOSEN, MediaChoice, Pages, Times
from virc_extras.video.sampling import from_clock, sampled_times, times_at_rate, usual_times

_TIME = re.compile(r"(?:(?:(\d{1,4}):)?(\d{1,4}):)?(\d{1,9}(?:\.\d{1,9})?)")
_OF_SUBTITLES = re.compile(r"(?<![\d:.])(\d+(?::\d+){1,2}),(\d{3})(?![\d:.])")
_UNCLEAR = re.compile(r"(?<![\d:.])\d+(?::\d+){1,2},\d+(?![\d:.])")


def choice_of(
    page: Pages | None = None, at: Times | None = None, fps: float | None = None, frames: int | None = None
) -> MediaChoice:
    """Return which parts are shown, as a user writes it.

    Args:
        page: `3`, `2-5`, `1,4,7-9`, or a number.
        at: `12.5`, `1:02`, `1:02:03.5`, several with commas, or seconds.
        fps, frames: as of `MediaChoice`.

    Raises:
        UsageError: one is written otherwise, or over a limit, or two of them choose frames.
    """
    pages = tuple(dict.fromkeys(number for each in _words(_texts(page)) for number in _pages(each)))
    times = tuple(map(_seconds, _words(map(_with_points, _texts(at)))))
    if fps is not None and not 0 < fps <= MOST_CHOSEN:
        raise UsageError(f"fps must be over 0 and at most {MOST_CHOSEN}, not {fps!r}")
    if frames is not None and (not isinstance(frames, int) or not 1 <= frames <= MOST_CHOSEN):
        raise UsageError(f"frames must be a whole number from 1 to {MOST_CHOSEN}, not {frames!r}")
    if sum(map(bool, (times, fps, frames))) > 1:
        raise UsageError("at, fps and frames each choose the frames of a clip", "leave all but one of them out")
    if max(len(pages), len(times)) > MOST_CHOSEN:
        raise UsageError(f"over {MOST_CHOSEN} pages or times are named", "name fewer")
    return MediaChoice(pages, times, fps, frames)


def choice_in_row(choice: MediaChoice, row: Mapping[str, Any]) -> MediaChoice:
    """Return which parts of its clip a row shows: its columns `start` and `end`, in seconds, bound them.

    Raises:
        DataError: there are no frames between them, or they may be its answer, as it has no other.
    """
    start, end = (row.get(name) for name in ("start", "end"))
    if choice.at or type(start) not in (int, float) or type(end) not in (int, float):
        return choice
    if not any(row.get(name) is not None for name in ("answer", "solution")):
        sentence = "its columns start and end are a part of its clip, or the answer"
        raise DataError(sentence, "rename them, or add a column answer")
    return choice_between(choice, start, end)


def choice_between(choice: MediaChoice, start: Any, end: Any) -> MediaChoice:
    """Return the same choice in a part of a clip, in seconds. Raises DataError: it has no frames."""
    if not all(type(each) in (int, float) for each in (start, end)) or not 0 <= start < end:
        raise DataError(f"the part of its clip from {start!r} to {end!r} has no frames")
    length = end - start
    times = sampled_times(length, choice.frames) if choice.frames else usual_times(length, length)
    times = times_at_rate(length, choice.fps) if choice.fps and not choice.frames else times
    return MediaChoice(at=tuple(round(min(start + each, end), 6) for each in times))


def _texts(given: Times | Pages | None) -> list[str]:
    return [str(each) for each in ([given] if isinstance(given, str | int | float) else given or ())]


def _with_points(times: str) -> str:
    """Times as they are written; of those of subtitles, such as 00:01:02,500, the comma is that of a decimal."""
    text = _OF_SUBTITLES.sub(r"\1.\2", times)
    if found := _UNCLEAR.search(text):
        sentence = f"at is {found[0]!r}, which is one time with a decimal or two times"
        raise UsageError(sentence, "«--at 1:02.5» or «--at 1:02,0:50»")
    return text


def _words(texts: Iterable[str]) -> Iterator[str]:
    for each in texts:
        yield from map(str.strip, each.split(","))


def _pages(word: str) -> range:
    first, _, last = word.partition("-")
    try:
        found = range(int(first), int(last or first) + 1)
    except ValueError:
        found = range(0)
    if not found or found.start < 1 or found.stop > LAST_PAGE:
        raise UsageError(
            f"page must be a whole number of at least 1, or a range, not {word!r}", "«--page 3» or «--page 2-5»"
        )
    return found


def _seconds(word: str) -> float:
    seconds = seconds_of(word)
    if seconds is None:
        raise UsageError(f"at is {word!r}, which is no time", "«--at 12.5» or «--at 1:02»")
    return seconds


def seconds_of(time: str) -> float | None:
    """The seconds of a time such as `12.5`, `1:02` or `1:02:03.5`; None: it is none."""
    found = _TIME.fullmatch(time)
    if not found or any(before and float(each) >= 60 for before, each in pairwise(found.groups())):
        return None
    return from_clock(*found.groups())
