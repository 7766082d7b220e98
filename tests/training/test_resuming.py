"""What is done with a run's folder between two attempts."""

import json
import shutil
import signal
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from support.reported import show_event

from virc.core.errors import ConfigError, EngineError
from virc.core.events import Event, Reporter
from virc.engines.llamafactory.resume import loadable
from virc.models.registry import EMBEDDED_FOLDER
from virc.runs import run as runs
from virc.runs.checkpoints import checkpoints
from virc.runs.metrics import Metric, metrics
from virc.runs.run import Info, Run
from virc.training import attempt, follow


@pytest.fixture
def run(tmp_path: Path) -> Run:
    made = Run(tmp_path / "runs" / "mine")
    made.checkpoints.mkdir(parents=True)
    about = Info(
        name="mine", system="tiny", stage="instruct", kind="sft", created="2026-01-01T00:00:00+00:00",
        base=str(EMBEDDED_FOLDER), root="tiny", data="rows.json", dataset="rows", rows=4, longest=9,
        settings={"engine": {}}, origins={}, environment="sft-cpu", device="cpu", python="python", recipes="recipes",
    )  # fmt: skip
    (made.folder / "run.json").write_bytes(msgspec.json.encode(about))
    shutil.copy(EMBEDDED_FOLDER / "virc_protocol.json", made.folder)
    return made


def checkpoint(run: Run, step: int, whole: bool = True) -> Path:
    folder = run.checkpoints / f"checkpoint-{step}"
    folder.mkdir()
    for name in ("config.json", "tokenizer_config.json", "tokenizer.json", "model.safetensors"):
        shutil.copy(EMBEDDED_FOLDER / name, folder)
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth"):
        (folder / name).write_bytes(b"state")
    (folder / "global_step1").mkdir()
    if whole:
        (folder / "trainer_state.json").write_text(json.dumps({"global_step": step}))
    return folder


def said(step: int) -> str:
    return json.dumps({"current_steps": step, "total_steps": 9, "lr": 0.1, "loss": step / 10}) + "\n"


def steps(run: Run) -> list[int]:
    return [each.step for each in metrics(run)]


def test_metrics_that_nobody_took_in_are_taken_over(run: Run) -> None:
    run.metrics.write_bytes(msgspec.json.encode(Metric(step=1, loss=0.1)) + b"\n")
    engines = run.checkpoints / "trainer_log.jsonl"
    engines.write_text(said(1) + said(2) + said(3) + '{"current_steps": 4, "lo')
    follow.take_over(run)
    assert steps(run) == [1, 2, 3]
    assert not engines.exists()


def test_metrics_after_the_checkpoint_are_dropped(run: Run) -> None:
    run.metrics.write_text("".join(f'{{"step":{step},"loss":1.0}}\n' for step in (1, 2, 3, 4)))
    follow.drop_after(run, 2)
    assert steps(run) == [1, 2]


def test_half_a_checkpoint_is_removed_and_a_whole_one_is_completed(run: Run) -> None:
    half, whole = checkpoint(run, 4, whole=False), checkpoint(run, 2)
    follow.take_over(run)
    assert not half.exists()
    assert (whole / "virc_protocol.json").exists()
    assert (whole / "preprocessor_config.json").exists()


def test_a_checkpoint_that_is_marked_or_lacks_a_part_is_not_whole(run: Run) -> None:
    checkpoint(run, 1)
    marked, sharded, alone, adapter = (checkpoint(run, step) for step in (2, 3, 4, 5))
    (marked / "checkpoint-is-incomplete.txt").write_text("")
    parts = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    for folder in (sharded, alone):
        (folder / "model.safetensors").rename(folder / parts["a"])
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": parts}))
    (sharded / parts["b"]).write_bytes(b"weights")
    (adapter / "adapter_model.safetensors").write_bytes(b"factors")
    assert [each.step for each in checkpoints(run)] == [1, 3]
    (adapter / "adapter_config.json").write_text("{}")
    assert [each.step for each in checkpoints(run)] == [1, 3, 5]


@pytest.mark.parametrize(("saved", "total", "ends"), [(4, 4, True), (6, 4, True), (3, 4, False), (4, None, False)])
def test_a_run_that_was_killed_after_its_last_save_trains_no_step_more(
    saved: int, total: int | None, ends: bool, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    class StartedError(Exception):
        """The engine would have been started."""

    def planned(*_: object) -> None:
        raise StartedError

    monkeypatch.setattr(attempt, "_planned", planned)
    checkpoint(run, saved)
    runs.write_state(run, progress="failed", attempt=1, step=saved, total=total)
    if not ends:
        with pytest.raises(StartedError):
            attempt.attempt(run, Reporter())
        return
    assert attempt.attempt(run, Reporter()) == attempt.Ended(True, saved)
    assert (runs.state(run).progress, runs.state(run).attempt, runs.state(run).step) == ("finished", 1, saved)


def test_resume_state_stays_with_the_newest_two(run: Run) -> None:
    folders = [checkpoint(run, step) for step in (1, 2, 3)]
    follow.Follower(run, runs.info(run), 1, 0, Reporter()).tend()
    assert [(folder / "optimizer.pt").exists() for folder in folders] == [False, True, True]
    assert [(folder / "global_step1").exists() for folder in folders] == [False, True, True]
    assert all((folder / "model.safetensors").exists() for folder in folders)


def test_other_rows_than_were_checked_end_the_run(run: Run) -> None:
    run.attempt(1).mkdir(parents=True)
    run.log(1).write_text("  Num examples = 3\n")
    (run.checkpoints / "trainer_log.jsonl").write_text(said(1))
    with pytest.raises(EngineError, match="trains on 3 rows, and 4 were checked"):
        follow.Follower(run, runs.info(run), 1, 0, Reporter()).poll()


def test_a_checkpoint_is_written_again_under_the_models_own_names(tmp_path: Path) -> None:
    import numpy as np
    from safetensors.numpy import load_file, save_file

    names = {
        "model.embed_tokens.weight": "model.language_model.embed_tokens.weight",
        "visual.blocks.0.weight": "model.visual.blocks.0.weight",
        "model.visual.x": "model.visual.x",
        "model.language_model.y": "model.language_model.y",
        "model.layers.0.model.z": "model.language_model.layers.0.model.z",
        "lm_head.weight": "lm_head.weight",
    }
    drawn = np.random.default_rng(1)
    tensors = {name: drawn.random((3, 5)).astype("float16" if "visual" in name else "float32") for name in names}
    saved = tmp_path / "checkpoint-7"
    saved.mkdir()
    parts = {"model-00001-of-00002.safetensors": list(names)[:3], "model-00002-of-00002.safetensors": list(names)[3:]}
    for file, inside in parts.items():
        save_file({name: tensors[name] for name in inside}, saved / file, metadata={"format": "pt"})
    index = {"metadata": {}, "weight_map": {name: file for file, inside in parts.items() for name in inside}}
    (saved / "model.safetensors.index.json").write_text(json.dumps(index))
    (saved / "optimizer.pt").write_bytes(b"state")

    loadable(saved, tmp_path / "resume")
    for file, inside in parts.items():
        found = load_file(tmp_path / "resume" / file)
        length = int.from_bytes((tmp_path / "resume" / file).read_bytes()[:8], "little")
        assert length % 8 == 0  # where safetensors has tensors begin
        assert found.keys() == {names[name] for name in inside}
        assert all((found[names[name]] == tensors[name]).all() for name in inside)
        assert all(found[names[name]].dtype == tensors[name].dtype for name in inside)
    again = json.loads((tmp_path / "resume" / "model.safetensors.index.json").read_text())
    assert again["weight_map"] == {names[name]: file for name, file in index["weight_map"].items()}  # type: ignore[attr-defined]
    assert (tmp_path / "resume" / "optimizer.pt").read_bytes() == b"state"


@pytest.mark.parametrize("data", [b"\x80\x04pickle or what it may be", b"\x08\0\0"])
def test_weights_that_are_no_safetensors_are_refused(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(data)
    with pytest.raises(EngineError, match="no safetensors file"):
        loadable(tmp_path, tmp_path / "resume")


def follower(run: Run) -> follow.Follower:
    run.attempt(1).mkdir(parents=True, exist_ok=True)
    run.log(1).write_text("  Num examples = 4\n")
    return follow.Follower(run, runs.info(run), 1, 0, Reporter(show_event))


def test_a_disk_that_is_full_for_a_while_costs_neither_the_run_nor_a_line(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    seen = follower(run)
    (run.checkpoints / "trainer_log.jsonl").write_text(said(1))
    run.metrics.symlink_to("/dev/full")
    seen.poll()
    seen.poll()
    assert capsys.readouterr().err.count("no space left on device") == 1
    run.metrics.unlink()
    with (run.checkpoints / "trainer_log.jsonl").open("a") as file:
        file.write(said(2))
    seen.poll()
    assert steps(run) == [1, 2]
    assert runs.state(run).step == 2
    run.metrics.unlink()
    run.metrics.symlink_to("/dev/full")
    with (run.checkpoints / "trainer_log.jsonl").open("a") as file:
        file.write(said(3))
    seen.poll()
    assert "no space left on device" in capsys.readouterr().err, "it is full again"


def test_a_line_of_metrics_cut_short_swallows_none_that_is_taken_over(run: Run) -> None:
    run.metrics.write_text('{"step":1,"loss":1.0}\n{"step":2,"lo')
    (run.checkpoints / "trainer_log.jsonl").write_text(said(1) + said(2) + said(3))
    follow.take_over(run)
    assert steps(run) == [1, 2, 3]


def test_an_engine_that_repeats_the_step_of_its_checkpoint_did_not_resume(run: Run) -> None:
    run.attempt(2).mkdir(parents=True)
    run.log(2).touch()
    (run.checkpoints / "trainer_log.jsonl").write_text(said(2))
    with pytest.raises(EngineError, match="did not resume from step 2"):
        follow.Follower(run, runs.info(run), 2, 2, Reporter()).poll()


INT, TERM, USR1, HUP = signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP


@pytest.mark.parametrize(
    ("arrive", "saves", "interrupted"),
    [([], 0, False), ([INT], 1, False), ([USR1, TERM], 1, False), ([INT, INT], 1, True), ([USR1, TERM, INT], 1, True)],
)
def test_an_engine_is_asked_once_and_a_second_ctrl_c_ends_at_once(
    run: Run, arrive: list[int], saves: int, interrupted: bool
) -> None:
    process = Engine(arrive)
    with pytest.raises(KeyboardInterrupt) if interrupted else nullcontext():
        assert watched(run, process) == 7
    assert (process.saves, process.ended) == (saves, 0)


@pytest.mark.parametrize(("unhealthy", "silent"), [("it diverged", None), (None, "has been silent for 30 min")])
def test_an_engine_that_is_ill_or_silent_is_asked_to_end(run: Run, unhealthy: str | None, silent: str | None) -> None:
    process = Engine([])
    assert watched(run, process, unhealthy, silent) == 7
    assert (process.saves, process.ended > 0) == (1, silent is not None)


def test_a_run_that_is_stopped_while_its_resume_waits_does_not_go_on(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    runs.write_state(run, progress="running", attempt=1, engine=1, **(runs.this_process() | {"started": 1}))
    monkeypatch.setattr(runs, "engine_lives", lambda state: runs.state(run).progress == "died")
    monkeypatch.setattr(attempt.time, "sleep", lambda _: runs.write_state(run, progress="stopped"))
    told: list[Event] = []
    with pytest.raises(ConfigError, match="mine was stopped meanwhile"):
        attempt.attempt(run, Reporter(told.append))
    assert runs.state(run).attempt == 1
    assert [each.text for each in told] == ["waiting for the engine of the previous attempt to save and end"]


class Engine:
    """An engine's process that ends some looks after the last signal has arrived."""

    def __init__(self, arrive: list[int]) -> None:
        self.arrive, self.asked = [*arrive], list[int]()
        self.saves = self.ended = 0
        self._left = len(arrive) + 2

    def wait(self, seconds: float) -> int | None:
        self.asked += self.arrive[:1]
        del self.arrive[:1]
        self._left -= 1
        return None if self._left >= 0 else 7

    def ask_to_save(self) -> None:
        self.saves += 1

    def end(self) -> None:
        self.ended += 1


def watched(
    run: Run, process: Any, unhealthy: str | None = None, silent: str | None = None, serving: Any = None
) -> int:
    silence = SimpleNamespace(reason=silent, over=lambda *_: silent is not None, begin_end=lambda: None, longest=0.0)
    watch = SimpleNamespace(reason=unhealthy)
    seen: Any = SimpleNamespace(poll=lambda: None, watch=watch, silence=silence, started=True)
    return attempt._watch(run, process, seen, process.asked, 1, serving, Reporter())
