"""How often an engine that ends by itself is started again; `test_supervised.py` asks a whole service about it."""

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from virc.core import processes
from virc.core.events import Event, Reporter
from virc.core.plan import Step
from virc.core.processes import Process
from virc.serving import vllm_process
from virc.serving.vllm_process import MAX_RESTARTS, Supervised

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="vLLM runs on Linux only")


class Engine:
    """Programs that end at once, and after so many of them one that stays."""

    def __init__(self, folder: Path, ends: int) -> None:
        self.log, self.starts, self._ends = folder / "vllm.log", 0, ends
        self.is_settled = threading.Event()
        self.events: list[Event] = []

    @contextmanager
    def start(self, keep: Callable[[Process], None]) -> Iterator[Process]:
        self.starts += 1
        stays = self.starts > self._ends
        with processes.started(Step(("sleep", "60" if stays else "0"), "wait"), self.log) as process:
            keep(process)
            if stays:
                self.is_settled.set()
            yield process

    def watched(self) -> Supervised:
        """What became of it, when one stays or it is given up."""
        with Supervised(self.start, self.log, Reporter(self.events.append)) as found:
            found.watch(self.is_settled.set)
            assert self.is_settled.wait(60)
        return found


def test_an_engine_is_started_again_three_times(tmp_path: Path) -> None:
    engine = Engine(tmp_path, ends=MAX_RESTARTS)
    assert engine.watched().failure is None
    assert engine.starts == 1 + MAX_RESTARTS
    warnings = [event.text for event in engine.events if event.kind == "warning"]
    assert [f"{number} of at most 3" in text for number, text in enumerate(warnings, 1)] == [True] * 3
    assert len((tmp_path / "vllm.old.log").read_text().splitlines()) == 1  # of the engine that ended, alone


def test_an_engine_that_ends_a_fourth_time_is_given_up(tmp_path: Path) -> None:
    engine = Engine(tmp_path, ends=MAX_RESTARTS + 1)
    failure = engine.watched().failure
    assert failure is not None
    assert failure.message.endswith("it was started again 3 times in 30 minutes")
    assert engine.starts == 1 + MAX_RESTARTS


def test_ends_of_long_ago_do_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vllm_process, "RESTART_WINDOW", 0.0)
    engine = Engine(tmp_path, ends=2 * MAX_RESTARTS)
    assert engine.watched().failure is None
    assert engine.starts == 1 + 2 * MAX_RESTARTS


def test_an_engine_that_nobody_watches_ends_with_its_block(tmp_path: Path) -> None:
    engine = Engine(tmp_path, ends=0)
    with Supervised(engine.start, engine.log, Reporter(None)) as found:
        assert found.running
    assert (engine.starts, found.failure) == (1, None)


def test_an_engine_that_ends_with_its_server_is_not_started_again(tmp_path: Path) -> None:
    engine, given_up = Engine(tmp_path, ends=1), threading.Event()
    with Supervised(engine.start, engine.log, Reporter(None)) as found:
        found.watch(given_up.set, lambda: True)
        assert found._thread
        found._thread.join(60)
        assert not found.running
    assert (engine.starts, given_up.is_set(), found.failure) == (1, False, None)


def test_an_engine_that_starts_as_the_server_ends_is_ended(tmp_path: Path) -> None:
    found, ended = Supervised(Engine(tmp_path, ends=0).start, tmp_path, Reporter(None)), list[str]()
    process: Any = SimpleNamespace(end=lambda: ended.append("ended"))
    found._keep(process)
    assert ended == []
    found._closing.set()
    found._keep(process)
    assert ended == ["ended"]
