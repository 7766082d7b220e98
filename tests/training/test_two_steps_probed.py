"""What `virc train --probe` runs and measures, with stand-ins for the engine."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from virc.core.errors import EngineError
from virc.core.events import Event, Reporter
from virc.core.plan import Step
from virc.stages.resolve import Resolved, resolve
from virc.systems import registry as systems
from virc.training import probe as probing
from virc.training.prepare import PreparedRun

GIB = 3.0


class Engine:
    """An engine that is asked for its settings and what it measured, and its process."""

    pid = 77

    def __init__(self, codes: Sequence[int | None], device: float | None = None) -> None:
        self.codes, self.device, self.planned = list(codes), device, list[Any]()

    def plan(self, config: Any, *_: Any) -> Any:
        self.planned.append(config)
        return SimpleNamespace(step=Step(("train",), "trains", {"OMP_NUM_THREADS": "3"}))

    def cause(self, log: Path, code: int) -> tuple[str, str]:
        return f"out of memory ({code})", "--set max_tokens=4096"

    def seconds_a_step(self, output: Path) -> float:
        return 12.5

    def device_gib(self, output: Path) -> float | None:
        return self.device

    def wait(self, seconds: float) -> int | None:
        return self.codes.pop(0)


class Probed:
    """A probe of a stage of the embedded model, whose rows were looked for with these arguments."""

    def __init__(self, stage: str, engine: Engine, patch: pytest.MonkeyPatch, folder: Path, *assignments: str) -> None:
        self.engine, self.asked, self.events = engine, list[tuple[Resolved, int]](), list[Event]()
        self.resolved = resolve(systems.get("tiny"), stage, assignments=assignments)
        needed: Any = SimpleNamespace(host_gib=5.0, device_gib=7.0)
        prepared = {
            "base": None,
            "result": SimpleNamespace(longest=900),
            "environment": None,
            "python": None,
            "ignore": (),
        }

        @contextmanager
        def started(step: Step, log: Path) -> Iterator[Engine]:
            assert (step.argv, log.is_relative_to(folder / "runs" / ".probe")) == (("train",), True)
            assert step.env == {"OMP_NUM_THREADS": "3", "MY_REWARD": "harsh"}
            yield engine

        def prepare(request: Any, resolved: Resolved, data: Path, here: Any, report: Any, probe: int) -> PreparedRun:
            self.asked.append((resolved, probe))
            return PreparedRun(resolved=resolved, **prepared)  # type: ignore[arg-type]

        def estimated(given: PreparedRun, here: Any) -> Any:
            assert given.resolved is self.resolved  # what is estimated is the stage, not its probe
            return needed

        def write(run: Any, place: Path, *_: Any) -> None:  # whose copy of the user's code reads a variable
            (place / "code").mkdir(parents=True)
            (place / "code" / "reward.py").write_text('os.environ["MY_REWARD"]')

        patch.setenv("MY_REWARD", "harsh")
        patch.setenv("MY_KEY", "k")  # which it does not
        sizes = iter([int(1e9), int(GIB * 2**30), int(2e9)])
        for place, name, value in (
            (probing.prepare, "prepare", prepare), (probing.prepare, "estimated", estimated),
            (probing.prepare, "write", write), (probing, "write_files", lambda _: None),
            (probing.inputs, "place_of", lambda *_: SimpleNamespace(output=folder)),
            (probing.engines, "of_kind", lambda kind: SimpleNamespace(plan=engine, log=engine)),
            (probing.processes, "started", started), (probing.hardware, "find", lambda _: None),
            (probing.processes, "memory_of_tree", lambda pid: next(sizes) / 2**30),
        ):  # fmt: skip
            patch.setattr(place, name, value)
        request: Any = SimpleNamespace(resolve=lambda: self.resolved, workspace=folder)
        try:
            self.found = probing.probe(request, Reporter(self.events.append))
        finally:
            assert not (folder / "runs").exists()  # no run is left


@pytest.mark.parametrize(
    ("stage", "assignments", "rows"),
    [
        ("practice", ("trackers=[wandb]", "log_every=5"), None), ("dpo", (), None), ("rl", (), 1),
        ("rl", ("devices=2", "nodes=2"), 4),
        ("rl", ("devices=2", "n=4", "validation=v.parquet", "test_freq=5", "trackers=[wandb]"), 2),
    ],
)  # fmt: skip
def test_two_steps_are_trained_on_as_few_rows_as_all_devices_take(
    stage: str, assignments: tuple[str, ...], rows: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Probed(stage, Engine([None, 0]), monkeypatch, tmp_path, *assignments)
    config = run.resolved.config
    rows = rows or config.at_a_time
    ((short, probed),) = run.asked
    assert (probed, short.config.steps, short.config.train_batch_size) == (2 * rows, 2, rows)
    assert run.engine.planned == [short.config]
    assert short.config.trackers == ()
    assert (run.found.rows_a_step, run.found.longest, run.found.seconds_a_step) == (rows, 900, 12.5)
    if stage == "rl":
        assert (short.config.ppo_mini_batch_size, short.config.engine["trainer.save_freq"]) == (rows, -1)
        assert (short.config.validation, short.config.test_freq, short.config.rollouts) == (None, None, None)
        assert short.config.n == config.n  # memory depends on it
    else:
        assert (short.config.log_every, short.config.engine["save_strategy"]) == (1, "no")
    assert any("2 steps on the longest rows" in event.text for event in run.events)


@pytest.mark.parametrize(
    ("stage", "device", "assignments", "gib", "estimated"),
    [
        ("rl", None, ("device=cpu",), GIB, 5.0),  # the largest that all processes had together
        ("rl", 40.0, ("device=cuda",), 40.0, 7.0), ("practice", 30.0, ("device=cuda",), 30.0, 7.0),
        ("practice", None, ("device=cpu",), None, 5.0),
    ],
)  # fmt: skip
def test_memory_is_that_of_the_device_or_else_of_the_processes(
    stage: str, device: float | None, assignments: tuple[str, ...], gib: float | None, estimated: float, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    import resource

    monkeypatch.setattr(resource, "getrusage", lambda _: SimpleNamespace(ru_maxrss=2**21))
    run = Probed(stage, Engine([None, None, None, 0], device), monkeypatch, tmp_path, *assignments)
    assert run.found.gib == pytest.approx(gib or 2.0)
    assert run.found.estimated_gib == estimated


def test_an_engine_that_fails_does_not_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EngineError, match=r"the probe failed: out of memory \(1\)") as caught:
        Probed("practice", Engine([None, 1]), monkeypatch, tmp_path)
    assert caught.value.hint == "--set max_tokens=4096"
