"""What this package does to its interpreter and its process: signals put off, no collection, ends with the parent."""

import ctypes
import gc
import os
import runpy
import signal
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from virc.core import interpreter, orphans
from virc.core.interpreter import collection_paused, interrupts_deferred, join_or_leave


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


def test_other_threads_defer_nothing() -> None:
    handlers: list[object] = []

    def work() -> None:
        with interrupts_deferred():
            handlers.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert handlers == [signal.getsignal(signal.SIGINT)]


def test_garbage_is_collected_again_behind_the_block_unless_it_was_not_before() -> None:
    enabled: list[bool] = []

    @collection_paused()
    def fail() -> None:
        enabled.append(gc.isenabled())
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        fail()
    assert [*enabled, gc.isenabled()] == [False, True]
    gc.disable()
    try:
        with collection_paused():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


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


def test_a_module_that_ends_with_its_parent_runs_with_its_own_arguments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = f"import sys\nopen({str(tmp_path / 'ran')!r}, 'w').write(repr((__name__, sys.argv[1:])))"
    (tmp_path / "an_engine.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    thread, unstarted = threading.Thread, SimpleNamespace(start=lambda: None)

    def made(*given: Any, target: Any = None, **named: Any) -> Any:
        is_watch = getattr(target, "__name__", "") == "watch"  # it would kill the group of this process
        return unstarted if is_watch else thread(*given, target=target, **named)

    monkeypatch.setattr(threading, "Thread", made)
    monkeypatch.setattr(sys, "argv", ["orphans", "an_engine", "serve", "--port"])
    runpy.run_path(orphans.__file__, run_name="__main__")
    assert (tmp_path / "ran").read_text() == "('__main__', ['serve', '--port'])"


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
def test_the_kernel_is_asked_for_the_end_with_the_parent_and_for_orphans(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, ...]] = []
    monkeypatch.setattr(ctypes, "CDLL", lambda _: SimpleNamespace(prctl=lambda *words: asked.append(words)))
    orphans.end_with_parent()
    orphans.adopt_orphans()
    assert asked == [(1, signal.SIGTERM), (36, 1)]  # PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER of <linux/prctl.h>


def test_a_group_is_killed_some_seconds_behind_the_end_of_its_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    parents, slept, killed = [7, 7, 7, 1], list[float](), list[tuple[int, int]]()
    monkeypatch.setattr(os, "getppid", lambda: parents.pop(0))
    monkeypatch.setattr(time, "sleep", slept.append)
    monkeypatch.setattr(os, "killpg", lambda *words: killed.append(words))
    monkeypatch.setattr(threading, "Thread", lambda target, daemon: SimpleNamespace(start=target, daemon=daemon))
    orphans.end_group_with_parent()
    assert (slept, killed) == ([1.0, 1.0, 10.0], [(os.getpid(), signal.SIGKILL)])
