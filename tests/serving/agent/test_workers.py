"""Threads that are stuck are replaced, as many as there are; then nobody can take work until one comes back."""

import gc
import threading
import weakref

from support.loopback import until

from virc.serving.agent.workers import Workers


def test_a_stuck_thread_is_replaced_once_and_comes_back() -> None:
    workers, go = Workers(1), threading.Event()
    first = workers.do(go.wait)
    assert workers.replace(first)
    assert {each.daemon for each in threading.enumerate() if each.name == "agent"} == {True}  # none keeps the process
    assert workers.do(lambda: 1).result(60) == 1
    second = workers.do(go.wait)
    assert workers.able
    assert not workers.replace(second)
    assert not workers.able
    go.set()
    second.result(60)
    first.result(60)
    assert workers.do(lambda: 2).result(60) == 2
    assert workers.able
    assert not workers.replace(first)
    until(lambda: not workers._replaced)  # a thread is free of its work just after the result
    again = threading.Event()
    third = workers.do(again.wait)
    assert workers.replace(third)  # the first takes no room any more
    again.set()
    gone = weakref.ref(third)
    third.result(60)
    del third

    def is_gone() -> bool:
        gc.collect()
        return gone() is None

    until(is_gone)


def test_as_many_threads_work_after_a_replaced_one_has_ended() -> None:
    workers, go = Workers(1), threading.Event()
    stuck = workers.do(go.wait)
    workers.replace(stuck)
    go.set()
    stuck.result(60)
    both = threading.Barrier(2)
    for _ in range(2):
        workers.do(lambda: both.wait(0.3))
    assert both.n_waiting < 2
    workers.wait(60)
    assert both.broken
