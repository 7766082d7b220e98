"""What servers ask to be waited for, in every form, and the pace that all who ask one server share."""

from types import SimpleNamespace

import pytest

from virc.core import retry
from virc.core.http.waiting import seconds_asked
from virc.core.retry import Pace

ISO = "2999-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7),
        ({"retry-after": " 2.5 "}, 2.5),
        ({"retry-after-ms": "1500", "Retry-After": "2"}, 1.5),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0),
        ({"x-ratelimit-reset": "1500000000"}, 0),  # in 2017
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "-1"}, None),
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
    ("said", "seconds"),
    [
        ("Please retry in 7.5s.", 7.5),
        ("Rate limit reached. Please try again in 1m30s.", 90),
        ("try again in 20 seconds", 20),
        ("{'details': [{'retryDelay': '37s'}]}", 37),
        ("{'retry_after': 0.75}", 0.75),
        ("retry 3 times", None),
        ("wait, 5 others are before you", None),
        ("retry" + " in" * 1000 + " x", None),
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
