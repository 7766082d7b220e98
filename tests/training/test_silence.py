"""When an engine counts as silent, by a clock that is set."""

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from support.made import make

from virc.runs import run as runs
from virc.runs.metrics import Metric
from virc.runs.run import Run
from virc.stages import rl
from virc.training import silence
from virc.training.silence import Silence

HOUR = 3600


class Engine:
    """A run of RL whose engine does what a test says, and a clock."""

    def __init__(self, workspace: Path, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> None:
        self.now = 1000.0
        monkeypatch.setattr(silence, "time", SimpleNamespace(monotonic=lambda: self.now))
        given = msgspec.to_builtins(rl.Config(data="rows", steps=100)) | settings
        self.run: Run = make(workspace, "a", kind="rl", settings=given, validation="val.parquet")
        self.log = self.run.folder / "engine.log"
        self.log.write_text("begun\n")
        self.silence = Silence(self.run, runs.info(self.run), self.log, [])

    def waits(self, seconds: float, starting: bool = False) -> bool:
        """Whether it is silent after so long."""
        end = self.now + seconds
        while self.now < end:
            self.now += 1.0
            self.silence.look(starting)
        return self.silence.reason is not None

    def step(self, number: int, **measured: Any) -> None:
        self.silence.take([Metric(step=number, total=100, **measured)])


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    monkeypatch.chdir(tmp_path)
    return Engine(tmp_path, monkeypatch)


def test_the_limit_follows_from_the_longest_step(engine: Engine) -> None:
    engine.step(1, seconds=100.0)
    engine.step(2, seconds=700.0)
    assert engine.silence.limit(False) == 1800 + 3 * 600
    assert not engine.waits(3500)
    assert engine.waits(300)
    assert engine.silence.reason
    assert "for 1 h 0 min; the longest step so far took 10 min" in engine.silence.reason


@pytest.mark.parametrize(
    "life", ["checkpoints/global_step_10/actor/optim_world_size_8_rank_0.pt", "judge/ab/abcd.json"]
)
def test_a_long_save_and_slow_verdicts_are_no_silence(engine: Engine, life: str) -> None:
    engine.step(1, seconds=60.0)
    file = engine.run.folder / life
    for _ in range(8):
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("ab") as opened:
            opened.write(b"more")
        assert not engine.waits(1500)
    assert engine.waits(2200)


COUNTS = "(Runner pid=8) INFO:2026-11-26 03:41:{:02},933:pending: 0, running: {}, finished: 0, failure: 0\n"
QUEUE = "\x1b[36m(TransferQueueController pid=9)\x1b[0m KV_LIST: req_count={}, req/min=585.15, avg_time=0.000050s\n"


@pytest.mark.parametrize(
    ("logged", "lives"),
    [
        (lambda minute: COUNTS.format(minute, 2) + QUEUE.format(minute), False),
        (lambda minute: COUNTS.format(minute, 40 - minute), True),
        (lambda minute: f"\rloading: {minute}%", True),
    ],
)
def test_what_verl_logs_every_minute_while_it_waits_is_no_life(
    engine: Engine, logged: Callable[[int], str], lives: bool
) -> None:
    engine.step(1, seconds=60.0)
    for minute in range(35):
        with engine.log.open("a") as log:
            log.write(logged(minute))
        engine.waits(60)
    assert (engine.silence.reason is None) is lives


def test_the_first_step_and_the_first_validation_get_longer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(tmp_path, monkeypatch, test_freq=5)
    assert engine.silence.limit(starting=True) == HOUR
    assert engine.silence.limit(False) == 3 * HOUR
    for number in range(1, 4):
        engine.step(number, seconds=60.0 * number)
    assert engine.silence.limit(False) == 1800 + 3 * 60
    engine.step(4, seconds=240.0)  # the next one is validated
    assert engine.silence.limit(False) == 3 * HOUR
    engine.step(5, seconds=1240.0, validation=0.5)
    engine.step(9, seconds=1540.0)
    assert engine.silence.limit(False) == 1800 + 3 * 1000


def test_an_engine_that_was_asked_to_end_gets_time_while_it_saves(engine: Engine) -> None:
    engine.step(1, seconds=60.0)
    assert engine.waits(2100)
    engine.silence.begin_end()
    assert not engine.silence.over(120)
    engine.waits(100)
    assert engine.silence.over(90, saves=False)
    engine.log.write_text("begun\nsaving\n")
    engine.waits(100)
    assert not engine.silence.over(120)
    assert engine.silence.over(120, saves=False)  # what starts may log for ever that it waits
    engine.waits(100)
    assert engine.silence.over(120)
    engine.silence.begin_end()
    engine.waits(130)
    (engine.run.checkpoints / "checkpoint-2").mkdir(parents=True)
    assert not engine.silence.over(120)
    engine.waits(130)
    assert engine.silence.over(120)
