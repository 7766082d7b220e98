"""What servers ask to be waited for, in every form, and the pace that all who ask one server share."""

from collections.abc import Callable
from email.utils import formatdate
from time import monotonic, time
from types import SimpleNamespace

import pytest

from virc.core import retry
from virc.core.retry import Pace, pace_of, seconds_asked

ISO = "2999-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7),
        ({"retry-after": " 2.5 "}, 2.5),
        ({"Retry-After": "7s"}, 7),
        ({"retry-after-ms": "1500", "Retry-After": "2"}, 1.5),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0),
        ({"Retry-After": "2015-10-21T07:28:00Z"}, 0),
        ({"Retry-After": "2 Min"}, 120),
        ({"x-ratelimit-reset": "1500000000"}, 0),  # in 2017
        ({"x-ratelimit-reset-tokens": "3", "x-ratelimit-remaining-tokens": "0.0"}, 3),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "-1"}, None),
        ({"x-ratelimit-reset": "3"}, 3),
        ({"RateLimit-Reset": "12"}, 12),
        ({"x-ratelimit-reset-requests": "6m0s", "x-ratelimit-reset-tokens": "20ms"}, 360),
        (
            {
                "x-ratelimit-reset-requests": "6m0s", "x-ratelimit-remaining-requests": "9",
                "x-ratelimit-reset-tokens": "1.2s", "x-ratelimit-remaining-tokens": "0",
            },
            1.2,
        ),
        ({"anthropic-ratelimit-requests-reset": ISO, "anthropic-ratelimit-requests-remaining": "5"}, None),
        ({}, None),
    ],
)  # fmt: skip
def test_headers_say_how_long_to_wait(headers: dict[str, str], seconds: float | None) -> None:
    assert seconds_asked(headers) == seconds


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("Retry-After", lambda at: formatdate(at, usegmt=True)),
        ("x-ratelimit-reset", lambda at: str(int(at))),
        ("x-ratelimit-reset", lambda at: str(int(at * 1000))),
    ],
)
def test_a_time_is_that_far_away(name: str, written: Callable[[float], str]) -> None:
    assert seconds_asked({name: written(time() + 600)}) == pytest.approx(600, abs=30)


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("Please retry in 7.5s.", 7.5),
        ("Rate limit reached. Please try again in 1m30s.", 90),
        ("try again in 20 seconds", 20),
        ("Try again after about 3 minutes.", 180),
        ("please wait for 120ms", 0.12),
        ("{'details': [{'retryDelay': '37s'}]}", 37),
        ("{'retry_after': 0.75}", 0.75),
        ("the limit resets in 2 hours", 7200),
        ("retry 3 times", None),
        ("maximum 5 requests", None),
        ("wait, 5 others are before you", None),
        ("retry" + " in" * 1000 + " x", None),
        ("wait for at least" + " for" * 1000, None),
        ("available" + " -_after" * 400 + ": 3 s", 3),
    ],
)
def test_a_sentence_says_how_long_to_wait(said: str, seconds: float | None) -> None:
    assert seconds_asked({}, said) == seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A clock that is set by hand."""
    found = SimpleNamespace(now=100.0)
    monkeypatch.setattr(retry, "time", SimpleNamespace(monotonic=lambda: found.now))
    return found


def test_a_pace_slows_once_for_requests_under_way_and_recovers(clock: SimpleNamespace) -> None:
    pace = Pace()
    assert [pace.turn() for _ in range(3)] == [0, 0, 0]
    clock.now = 101
    for _ in range(3):
        pace.slow(began=100, wait=2)
    assert [pace.turn() for _ in range(3)] == [2, 2.25, 2.5]
    clock.now = 103
    pace.slow(began=102, wait=0)  # refused again, and none was answered between: the same refusal
    assert [pace.turn() for _ in range(2)] == [0.75, 1]
    pace.note_answer()
    clock.now = 105
    pace.slow(began=104, wait=0)
    assert [pace.turn() for _ in range(2)] == pytest.approx([0, 0.4])
    for _ in range(20):
        pace.note_answer()
    clock.now = 110
    assert [pace.turn() for _ in range(3)] == [0, 0, 0]


def test_no_pace_is_slower_than_a_request_in_half_a_minute(clock: SimpleNamespace) -> None:
    pace = Pace()
    for _ in range(20):
        clock.now += 100
        pace.note_answer()
        pace.slow(began=clock.now - 50, wait=0)
    assert [pace.turn(), pace.turn()] == [0, 30]


def test_all_who_ask_a_server_share_its_pace() -> None:
    assert pace_of("http://a:1/") is pace_of("http://a:1/")
    assert pace_of("http://a:1/") is not pace_of("http://a:2/")


@pytest.mark.parametrize(("left", "waited"), [(600, []), (2000, [1000])])
def test_no_wait_is_longer_than_a_request_has(left: float, waited: list[float], pauses: list[float]) -> None:
    pace, now = Pace(), monotonic()
    pace.slow(now, 1000)
    pace.wait(now + left)
    assert pauses == pytest.approx(waited, abs=30)


def test_a_place_that_comes_too_late_is_left_to_others(clock: SimpleNamespace) -> None:
    pace = Pace()
    pace.slow(began=100, wait=10)
    for _ in range(3):
        pace.wait(until=105)
    assert [pace.turn(until=105), pace.turn(), pace.turn()] == [10, 10, 10.25]


@pytest.mark.parametrize(
    ("limits", "seconds"),
    [
        ('"api";r=0;t=42', 42),
        ('"api";t=42;r=0', 42),
        ('"api"; r=0; t=42', 42),
        ('"pages";r=7;t=9, "api";r=0;t=3', 3),
        ('"pages";r=0;t=9, "api";r=0;t=3', 9),
        ('"api";r=5;t=42', None),
        ('"api";r=0', None),
        ("limit=100, remaining=0, reset=50", 50),
        ("limit=100, remaining=3, reset=50", None),
        ("nonsense", None),
        ("", None),
    ],
)
def test_a_limit_that_is_spent_is_waited_for(limits: str, seconds: float | None) -> None:
    assert seconds_asked({"RateLimit": limits}) == seconds
    assert seconds_asked({"ratelimit": limits, "Retry-After": "5"}) == 5


def test_the_pauses_before_tries_double_within_a_quarter_up_to_the_longest() -> None:
    for retry_number, most in ((1, 0.5), (2, 1.0), (4, 4.0), (5, 5.0), (2000, 5.0)):
        pauses = [retry.pause_before(retry_number, 0.5, 5.0) for _ in range(200)]
        assert 0.75 * most <= min(pauses) < 0.8 * most
        assert 0.95 * most < max(pauses) <= most


def test_how_many_are_asking_is_known_also_where_one_fails() -> None:
    pace, seen = Pace(), list[int]()

    def fail() -> None:
        with pace.asks():
            seen.append(pace.asking)
            raise OSError("gone")

    with pace.asks():
        with pytest.raises(OSError, match="gone"):
            fail()
        seen.append(pace.asking)
    assert [*seen, pace.asking] == [2, 1, 0]


def test_whether_a_server_has_answered_lately(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [50.0]
    monkeypatch.setattr(retry, "time", SimpleNamespace(monotonic=lambda: now[0]))
    pace = Pace()
    assert not pace.has_answered(1e9)
    pace.note_answer()
    now[0] += 5
    assert (pace.has_answered(5), pace.has_answered(4.9), pace.answered) == (True, False, 1)
