"""The times at which a clip is looked at."""

from typing import Any

import pytest
from support.tables import each_case

from virc.core.errors import UsageError
from virc_extras.video.choosing import choice_between, choice_of
from virc_extras.video.sampling import clock, sampled_times, times_at_rate, usual_times


def test_frames_lie_evenly_between_both_ends() -> None:
    assert (sampled_times(10.0, 5), sampled_times(9.9, 1)) == ([0, 2.5, 5, 7.5, 10], [0])


@each_case(
    ("length", "last", "times"),
    [(6.2, 6.16, [0, 1, 2, 3, 4, 5, 6]), (5.0, 4.9, [0, 1, 2, 3, 4]), (0.93, 0.9, [0, 0.3, 0.6, 0.9])],
)
def test_first_view_is_a_frame_a_second(length: float, last: float, times: list[float]) -> None:
    assert usual_times(length, last) == pytest.approx(times)


def test_first_view_of_a_long_clip_has_32_frames_up_to_both_ends() -> None:
    times = usual_times(3600, 3599.9)
    assert (len(times), times[0], times[-1]) == (32, 0, 3599.9)


def test_a_rate_counts_from_the_first_frame() -> None:
    assert times_at_rate(1.7, 4) == [0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5]


@each_case(
    ("start", "end", "times"),
    [
        (0.1, 0.7, (0.1, 0.25, 0.4, 0.55, 0.7)),
        (1.2345, 5.0, (1.2345, 2.1845, 3.1245, 4.0645, 5.0)),  # the last one is not behind the end
        (1e-05, 2, (1e-05, 0.50001, 1.00001, 1.50001, 2)),
    ],
)
def test_times_of_a_part_lie_in_it_and_have_few_digits(start: float, end: float, times: tuple[float, ...]) -> None:
    assert choice_between(choice_of(frames=5), start, end).at == times


def test_a_time_that_is_said_names_the_same_frame() -> None:
    times = sampled_times(59 * 1001 / 30000, 60)
    assert all(said >= 1001 * number / 30000 for number, said in enumerate(times))
    assert all(said < 1001 * (number + 1) / 30000 for number, said in enumerate(times))


@each_case(
    ("written", "times"),
    [
        ("00:01:02,500", (62.5,)),  # as subtitles have it
        ("1:02,250", (62.25,)),
        ("1:02,1:05", (62, 65)),
        ("12,500", (12, 500)),
        ("0:01,1.5", (1, 1.5)),
        (["1:02", "50"], (62, 50)),
        ("1:02,50", None),
        ("1:02:03,5,7:00", None),
    ],
)
def test_a_comma_is_that_of_a_decimal_where_nothing_else_is_meant(
    written: Any, times: tuple[float, ...] | None
) -> None:
    if times is not None:
        assert choice_of(at=written).at == times
        return
    with pytest.raises(UsageError, match="which is one time with a decimal or two times"):
        choice_of(at=written)


@each_case(("seconds", "said"), [(7, "0:07"), (61.25, "1:01.25"), (1.5, "0:01.5"), (3723, "1:02:03")])
def test_times_are_said_by_the_clock(seconds: float, said: str) -> None:
    assert clock(seconds) == said
