"""Ends of work: a deadline that stands still, an alarm within another, a stop that came before."""

import signal
import threading

import pytest

from virc.core.timeouts import Deadline, Stop, TimeUp, check_stop, on_stop


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
