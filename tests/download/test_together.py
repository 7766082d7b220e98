"""Work that waits, several pieces at a time."""

import threading
import time

import pytest

from virc.download.hub.fetching import together


def test_every_item_is_done_once_and_several_wait_at_a_time() -> None:
    at_once, most, lock, four = 0, 0, threading.Lock(), threading.Barrier(4)

    def work(item: int) -> None:
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        four.wait(60)
        with lock:
            at_once -= 1

    assert sorted(together(work, range(40), 4)) == list(range(40))
    assert most == 4
    assert list(together(work, [], 4)) == []


def test_the_first_error_ends_it_and_keeps_nobody_waiting() -> None:
    held, begun = threading.Event(), []

    def work(item: int) -> None:
        begun.append(item)
        if item == 0:
            held.wait(60)
        if item == 3:
            raise ValueError("three")
        time.sleep(0.005)

    with pytest.raises(ValueError, match="three"):
        list(together(work, range(1000), 2))
    assert not held.is_set()  # who waits for it is left behind
    held.set()
    assert len(begun) < 1000


def test_what_is_under_way_ends_before_the_error_comes() -> None:
    begun, done = threading.Event(), []

    def work(item: int) -> None:
        if item == 1:
            begun.wait(60)
            raise ValueError("one")
        begun.set()
        time.sleep(0.05)
        done.append(item)

    with pytest.raises(ValueError, match="one"):
        list(together(work, range(2), 2))
    assert done == [0]
