"""What this package does to its interpreter and its process: signals put off, no collection, ends with the parent."""

import os
import signal
import threading
import time
from types import SimpleNamespace

import pytest

from virc.core import interpreter
from virc.core.interpreter import interrupts_deferred, join_or_leave


def test_a_signal_comes_behind_the_block_that_defers_it_and_to_the_handler_of_before() -> None:
    came: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: came.append(number))
    try:
        with interrupts_deferred():
            signal.raise_signal(signal.SIGTERM)
            assert came == []
        assert came == [signal.SIGTERM]
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        with interrupts_deferred():
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, before)


def test_threads_have_one_time_together_then_the_process_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    now, given = [100.0], list[float]()
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(interpreter, "exit_code", 3)

    def left(code: int) -> None:
        raise SystemExit(code)

    def thread(seconds: float) -> threading.Thread:
        def join(timeout: float) -> None:
            given.append(timeout)
            now[0] += min(seconds, timeout)

        return SimpleNamespace(join=join, is_alive=lambda: seconds > given[-1])  # type: ignore[return-value]

    monkeypatch.setattr(os, "_exit", left)
    join_or_leave([thread(2), thread(1)], 5)
    with pytest.raises(SystemExit) as ended:
        join_or_leave([thread(2), thread(9), thread(1)], 5)
    assert (ended.value.code, given) == (3, [5, 3, 5, 3])
