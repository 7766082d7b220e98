"""Ends of work: a deadline that stands still, an alarm within another, a stop that came before."""

import asyncio
import signal
import threading
import time
from collections.abc import Callable
from contextvars import ContextVar

import pytest

from virc.core.limits import threads
from virc.core.timeouts import Deadline, LateError, Stop, TimeUp, check_stop, on_stop, within


class Clock:
    """Time that passes when it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)


def test_time_stands_still_where_a_deadline_is_paused(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    deadline = Deadline(10)
    clock.now += 4
    with deadline.paused():
        clock.now += 100
    assert deadline.left() == 6
    clock.now += 6
    with pytest.raises(TimeUp):
        deadline.check()
    assert Deadline(None).left() is None


def test_an_alarm_within_another_lets_that_go_on() -> None:
    rung = list[int]()
    before = signal.signal(signal.SIGALRM, lambda number, _: rung.append(number))
    signal.setitimer(signal.ITIMER_REAL, 50)
    try:
        with Deadline(20).armed():
            assert signal.getitimer(signal.ITIMER_REAL)[0] <= 20
        assert 20 < signal.getitimer(signal.ITIMER_REAL)[0] <= 50
        signal.raise_signal(signal.SIGALRM)
        assert rung == [signal.SIGALRM]
        with pytest.raises(TimeUp), Deadline(20).armed():
            signal.raise_signal(signal.SIGALRM)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("is_late", [True, False])
def test_a_stop_wakes_whoever_waits_also_where_it_came_before(is_late: bool) -> None:
    stop, woken = Stop(), threading.Event()
    if is_late:
        stop.set()
    with stop.applied(), on_stop(woken.set):
        if not is_late:
            check_stop()
            threading.Thread(target=stop.set).start()
        assert woken.wait(60)
        with pytest.raises(KeyboardInterrupt):
            check_stop()
    check_stop()


def test_a_stop_wakes_all_who_wait_and_none_who_left() -> None:
    stop, woken = Stop(), list[str]()
    with stop.applied(), on_stop(lambda: woken.append("left")):
        deadline = Deadline(None)
    deadline.check()
    with stop.waking(lambda: woken.append("one")), stop.waking(lambda: woken.append("other")):
        stop.set()
    assert sorted(woken) == ["one", "other"]
    with pytest.raises(KeyboardInterrupt):
        deadline.check()


def test_all_that_work_says_is_heard_and_its_error_raised() -> None:
    heard: list[int] = []

    def work(say: Callable[[int], None]) -> str:
        for number in range(3):
            say(number)
        return "done"

    def fail(say: Callable[[int], None]) -> str:
        raise ValueError("wrong")

    def afterwards() -> None:
        raise RuntimeError("dropped")

    assert within(time.monotonic() + 60, work, heard.append, afterwards) == "done"
    assert heard == [0, 1, 2]
    with pytest.raises(ValueError, match="wrong"):
        within(time.monotonic() + 60, fail)
    found: list[str] = []
    thread = threading.Thread(target=lambda: _in_a_thread(found))
    thread.start()
    thread.join()
    assert found == ["no alarm"]


def _in_a_thread(found: list[str]) -> None:
    with Deadline(20).armed():
        found.append("no alarm")


def test_work_of_a_thread_has_the_context_of_its_caller_and_raises_where_it_is_asked_for() -> None:
    variable: ContextVar[str] = ContextVar("variable")
    variable.set("of the caller")
    assert threads.started(variable.get).result(60) == "of the caller"

    def stopped() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        threads.started(stopped).result(60)

    async def loop() -> int:
        return id(asyncio.get_running_loop())

    loops = {threads.scheduled(loop()).result(60) for _ in range(2)}
    assert len(loops) == 1
    waiting = threads.scheduled(asyncio.sleep(600))
    assert waiting.cancel()


def test_work_whose_time_is_over_hears_so_when_it_says_something() -> None:
    left, heard = threading.Event(), list[bool]()

    def work(say: object) -> None:
        left.wait(60)
        try:
            say(1)  # type: ignore[operator]
        except LateError:
            heard.append(True)

    done = threading.Event()
    with pytest.raises(LateError):
        within(time.monotonic() - 1, work, afterwards=done.set)
    left.set()
    assert done.wait(60)
    assert heard == [True]
