"""What is told and published when a model is served, with nothing loaded."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.faults import status
from support.servers import images_of, serve
from support.solving import answer

from virc.core.errors import EngineError
from virc.core.events import Event, Reporter
from virc.core.plan import Plan, Step
from virc.serving import start, vllm_process
from virc.serving.start import Server
from virc.stages.serve import Config


@pytest.mark.parametrize(("seconds", "starts"), [(1.0, 4), (601.0, 8)], ids=["at once", "seldom"])
def test_an_engine_that_ends_seldom_is_always_started_again(
    seconds: float, starts: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, begun, closed, gave_up = [0.0], list[int](), list[int](), list[bool]()
    monkeypatch.setattr(vllm_process, "time", SimpleNamespace(monotonic=lambda: clock[0]))

    def wait() -> int:
        clock[0] += seconds
        return 1

    @contextmanager
    def start_engine(keep: Callable[[Any], None]) -> Iterator[Any]:
        begun.append(1)
        (tmp_path / "vllm.log").write_text("ValueError: no room\n")
        assert len(begun) - len(closed) == 1  # what ended is cleared away before another begins
        keep(process := SimpleNamespace(wait=wait, end=lambda: None))
        try:
            yield process
        finally:
            closed.append(1)

    events: list[Event] = []
    with vllm_process.Supervised(start_engine, tmp_path / "vllm.log", Reporter(events.append)) as engine:
        engine.watch(lambda: gave_up.append(True), lambda: len(begun) == 8)
        assert engine._thread
        engine._thread.join(60)
    assert (len(begun), gave_up, engine.running) == (starts, [True] * (starts == 4), False)
    said = [event.text for event in events if event.kind == "warning"]
    assert "vLLM ended: no room; it is started again, 1 of at most 3 times in 30 minutes" in said[0]
    if starts == 4:
        assert "it was started again 3 times in 30 minutes" in str(engine.failure)
        assert len(said) == 3


def serving(run: Callable[[], None], done: list[str], log: Path | None = None) -> Server:
    """A server that does this until it is stopped."""
    resources = ExitStack()
    resources.callback(lambda: done.append("released"))
    return Server("http://a/v1", "m", run, lambda: done.append("stopped"), resources, log)


def ending() -> None:
    raise EngineError("vLLM ended")


def test_an_engine_that_ended_within_the_block_is_told_at_its_end() -> None:
    done: list[str] = []
    with pytest.raises(EngineError, match="vLLM ended"), serving(ending, done):
        pass
    own = ValueError("mine")

    def fail(server: Server) -> None:
        while not server.failure:
            time.sleep(0.001)
        raise own

    with pytest.raises(ValueError, match="mine"), serving(ending, done) as server:
        fail(server)
    assert own.__notes__ == ["vLLM ended"]
    assert done == ["stopped", "released"] * 2


@pytest.mark.parametrize("fault", [None, status(500)])
def test_vllm_is_served_once_it_has_answered_and_its_end_is_an_error(
    fault: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, done = tmp_path / "vllm.log", list[str]()
    log.write_text("of the run before")
    process = SimpleNamespace(wait=lambda: 1, end=lambda: done.append("ended"))

    @contextmanager
    def started(step: Step, file: Path) -> Iterator[Any]:
        assert not file.exists()
        file.write_text("ValueError: no room for the KV cache\n")
        yield process
        done.append("left")

    monkeypatch.setattr(vllm_process.processes, "started", started)
    roots = list[str]()
    monkeypatch.setattr(vllm_process, "_await_health", lambda _, root, *__: roots.append(root))
    with serve([answer("white")], models=("m",), fault=fault) as engine:
        plan: Any = SimpleNamespace(
            config=Config(port=engine.server_address[1]), name="m", plan=Plan(Step(("vllm",), "serve"), {}), log=log
        )
        with ExitStack() as resources:
            if fault:
                with pytest.raises(EngineError, match=r"vLLM is up and does not answer: .*500"):
                    start._vllm(plan, Reporter(None), resources)
                return
            served = start._vllm(plan, Reporter(None), resources)
        known = list[Any]()
        with vllm_process.started_for(plan, Reporter(None), known.append) as begun:
            assert known == [begun]  # who watches it can end it, also while it starts
    assert (engine.chats()[0]["max_tokens"], len(images_of(engine.chats()[0]))) == (1, 1)
    with pytest.raises(EngineError, match="vLLM ended: no room for the KV cache"):
        served.wait()
    assert done == ["left", "ended", "left"]
    assert roots == [f"http://127.0.0.1:{engine.server_address[1]}"] * 2


def test_what_a_vllm_that_starts_writes_is_told_line_by_line_until_it_is_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (log := tmp_path / "vllm.log").touch()
    written, events = ["] Starting to load", " model m\nsecond li", "ne\n] init engine (x)\n"], list[Event]()
    codes: list[int | None] = [None, None, None, 0, 1]

    def wait(_: float) -> int | None:
        with log.open("a") as file:
            file.write(written.pop(0))
        return codes.pop(0)

    process: Any = SimpleNamespace(wait=wait)
    monkeypatch.setattr(vllm_process, "_is_healthy", lambda root: not written)
    stages = vllm_process.Stages(report := Reporter(events.append))
    vllm_process._await_health(process, "http://h", log, report, stages)
    assert [event.text for event in events if event.kind == "log"] == [
        "] Starting to load model m", "second line", "] init engine (x)"
    ]  # fmt: skip
    assert [stage for stage, _ in stages._began] == ["imports", "weights", "HTTP server"]
    assert sum(event.kind == "progress" for event in events) >= 3
    for said in ("no room", "less room"):
        written.append(f"ValueError: {said}\n")
        with pytest.raises(EngineError, match=f"vLLM ended before it was ready: {said}"):
            vllm_process._await_health(process, "http://h", log, report, stages)
