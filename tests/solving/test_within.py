"""Work that is left at a time, whatever it waits for."""

import threading
import time
from collections.abc import Callable

import pytest

from virc.core.timeouts import LateError, within

FAR = 600.0


def test_what_is_said_is_heard_in_order_in_the_callers_thread_before_the_result() -> None:
    heard: list[tuple[int, threading.Thread]] = []

    def work(say: Callable[[int], None]) -> str:
        for number in range(100):
            say(number)
        return "done"

    result = within(time.monotonic() + FAR, work, lambda number: heard.append((number, threading.current_thread())))
    assert result == "done"
    assert heard == [(number, threading.current_thread()) for number in range(100)]


def test_work_that_waits_for_ever_is_left() -> None:
    never = threading.Event()
    with pytest.raises(LateError):
        within(time.monotonic() + 0.05, lambda _: never.wait(FAR))
    never.set()


@pytest.mark.parametrize("late", [True, False])
def test_work_that_is_left_ends_when_it_next_says_something(late: bool) -> None:
    left, ended = threading.Event(), threading.Event()

    def work(say: Callable[[str], None]) -> None:
        try:
            say("first")
            left.wait(FAR)
            say("second")
        except LateError:
            ended.set()

    def hear(_: str) -> None:
        if not late:
            raise KeyboardInterrupt

    with pytest.raises(LateError if late else KeyboardInterrupt):
        within(time.monotonic() + (0.2 if late else FAR), work, hear)
    left.set()
    assert ended.wait(60)
