"""Several processes: results in order, few items under way, no process left when it ends or is killed."""

import _thread
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from virc.core.errors import DataError, SetupError
from virc.core.work.parallel import LostWorkerError, in_order


def work(item: int) -> int:
    """Double it; 13 is a fault, 17 the end of the worker. Small items are slow."""
    time.sleep(0.02 if item < 3 else 0)
    if item == 13:
        raise DataError("thirteen", "take twelve")
    if item == 17:
        os.kill(os.getpid(), signal.SIGKILL)
    return 2 * item


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.integration)])
def test_results_come_in_the_order_of_the_items(workers: int) -> None:
    assert list(in_order(work, range(10), workers)) == list(range(0, 20, 2))


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.integration)])
def test_a_fault_comes_at_its_turn_whole(workers: int) -> None:
    results = in_order(work, range(10, 17), workers)
    assert [next(results) for _ in range(3)] == [20, 22, 24]
    with pytest.raises(DataError, match="thirteen") as raised:
        next(results)
    assert raised.value.hint == "take twelve"


@pytest.mark.integration
def test_a_killed_worker_is_said() -> None:
    with pytest.raises(SetupError, match="worker process was killed"):
        list(in_order(work, [17], 2))


@pytest.mark.integration
def test_what_came_before_a_worker_was_killed_is_given_even_if_that_shows_at_the_next_item() -> None:
    def items() -> Iterator[int]:
        yield from (3, 17)
        while multiprocessing.active_children():  # until it has ended
            time.sleep(0.01)
        time.sleep(0.1)  # and the pool has seen it
        yield 4

    results = in_order(work, items(), 1, apart=True)
    assert next(results) == 6
    with pytest.raises(LostWorkerError):
        next(results)


def start_method(item: int) -> str:
    return type(multiprocessing.current_process()).__name__


@pytest.mark.integration
def test_no_worker_is_forked_beside_a_thread_that_python_does_not_count() -> None:
    over = _thread.allocate_lock()
    with over:
        _thread.start_new_thread(over.acquire, ())
        assert list(in_order(start_method, [0], 1, apart=True)) == ["SpawnProcess"]


PROGRAM = """
import os, sys, time
from itertools import count
from virc.core.work.parallel import LostWorkerError, in_order

def work(item):
    time.sleep(0.2)
    return item

if __name__ == "__main__":
    try:
        print("begun", flush=True)
        for item in in_order(work, count(), 2):
            print(item, flush=True)
    except KeyboardInterrupt:
        sys.exit(130)
"""


@pytest.fixture
def process(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """A program with two workers, in a session of its own as in a terminal; its output ends when all have ended."""
    (tmp_path / "program.py").write_text(PROGRAM)
    with subprocess.Popen(
        [sys.executable, tmp_path / "program.py"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as program:  # fmt: skip
        assert program.stdout is not None
        assert program.stdout.readline() == "begun\n"
        yield program


@pytest.mark.integration
@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_workers_end_when_their_parent_is_killed(process: "subprocess.Popen[str]", number: int) -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == "0\n"
    process.send_signal(number)
    process.communicate(timeout=240)
    assert process.returncode == -number


@pytest.mark.integration
@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("moment", [0.0, 0.1, 0.3])
def test_ctrl_c_ends_all_without_a_word_of_workers_even_while_they_start(
    process: "subprocess.Popen[str]", moment: float
) -> None:
    time.sleep(moment)
    os.killpg(process.pid, signal.SIGINT)
    assert process.communicate(timeout=240)[1] == ""
    assert process.returncode == 130
