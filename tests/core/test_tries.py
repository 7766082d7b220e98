"""How often what fails in passing is tried again, and after which pauses."""

import random
import time
from collections.abc import Callable

import pytest

from virc.core import retry


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses in seconds, which take no time."""
    found: list[float] = []
    monkeypatch.setattr(time, "sleep", found.append)
    monkeypatch.setattr(random, "uniform", lambda _, most: most)
    return found


def failing(times: int) -> Callable[[], int]:
    """A function that fails so often, then returns how often it was called; so does what it raises."""
    calls: list[None] = []

    def ask() -> int:
        calls.append(None)
        if len(calls) <= times:
            raise OSError(len(calls))
        return len(calls)

    return ask


@pytest.mark.parametrize(
    ("fails", "tries", "slept"),
    [(0, 1, []), (1, 2, [0.5]), (4, 5, [0.5, 1.0, 2.0, 3.0]), (1, 1, []), (9, 3, [0.5, 1.0])],
)
def test_it_is_asked_as_often_as_is_allowed_after_longer_pauses(
    fails: int, tries: int, slept: list[float], pauses: list[float]
) -> None:
    ask = failing(fails)
    if fails < tries:
        assert retry.retried(ask, lambda _, pause: pause, tries=tries, longest=3.0) == fails + 1
    else:
        with pytest.raises(OSError, match=f"^{tries}$"):
            retry.retried(ask, lambda _, pause: pause, tries=tries, longest=3.0)
    assert pauses == slept
