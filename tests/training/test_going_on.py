"""`virc train --resume` on runs whose surroundings are not what they were."""

import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from support.called import virc
from support.reported import show_event

from virc.core.errors import ConfigError, UsageError
from virc.core.events import Reporter
from virc.models.registry import EMBEDDED_FOLDER
from virc.runs import attempts
from virc.runs import run as runs
from virc.runs.run import Info, Run
from virc.stages import resolve as stages
from virc.systems import registry as systems
from virc.training import attempt, continued, inputs


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VIRC_CACHE", str(tmp_path / "cache"))
    made = Run(tmp_path / "runs" / "mine")
    made.folder.mkdir(parents=True)
    (tmp_path / "code").mkdir()
    (tmp_path / "rows.json").write_text("[]")
    shutil.copy(EMBEDDED_FOLDER / "virc_protocol.json", made.folder)
    write(made)
    return made


def write(run: Run, **about: Any) -> None:
    workspace = run.folder.parent.parent
    config = stages.resolve(systems.get("tiny"), "instruct", []).config
    fields: dict[str, Any] = {
        "name": "another", "system": "tiny", "stage": "instruct", "kind": "sft", "created": "2026-01-01T00:00:00+00:00",
        "base": str(EMBEDDED_FOLDER), "root": "tiny", "data": str(workspace / "rows.json"), "dataset": "rows",
        "rows": 4, "longest": 9, "settings": msgspec.to_builtins(config), "origins": {}, "environment": "sft-cpu",
        "device": "cpu", "python": sys.executable, "recipes": str(workspace / "code"),
    }  # fmt: skip
    (run.folder / "run.json").write_bytes(msgspec.json.encode(Info(**(fields | about))))


@pytest.mark.parametrize(
    ("about", "code", "said"),
    [
        ({"base": "/gone"}, 3, "mine was begun with /gone/config.json, which is gone"),
        ({"adapter": "/gone"}, 3, "mine was begun with /gone/adapter_config.json, which is gone"),
        ({"validation": "/gone.json"}, 3, "mine was begun with /gone.json, which is gone"),
        ({"python": "/gone"}, 4, "virc env create sft --device cpu"),
        ({"settings": {"data": "d", "learning_rate": 1e-5, "batch": 8}}, 3, "unknown field `batch`"),
    ],
)
def test_what_is_gone_is_said_before_an_engine_starts(run: Run, about: dict[str, Any], code: int, said: str) -> None:
    write(run, **about)
    done = virc("train", "--resume", "--name", "mine")
    assert done.code == code, done.err
    assert said in done.err
    assert not run.attempt(1).exists()
    assert runs.state(run).progress == "new"


def test_two_processes_do_not_train_one_run(run: Run) -> None:
    with attempts.alone(run):
        done = virc("train", "--resume", "--name", "mine")
    assert done.code == 3
    assert "another process trains or removes mine" in done.err


@pytest.mark.parametrize(("before", "asked"), [(signal.SIG_DFL, True), (signal.SIG_IGN, False)])
def test_a_terminal_that_is_closed_asks_to_save_unless_nohup_was_said(before: Any, asked: bool) -> None:
    former = signal.signal(signal.SIGHUP, before)
    try:
        with attempt._signals() as received:
            assert (signal.getsignal(signal.SIGHUP) != before) == asked
            if asked:
                os.kill(os.getpid(), signal.SIGHUP)
        assert received == [signal.SIGHUP] * asked
    finally:
        signal.signal(signal.SIGHUP, former)


def test_code_that_is_gone_is_replaced_by_that_of_today(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    write(run, recipes="/gone")
    begun = attempt._info_with_code(run, Reporter(show_event))
    assert (Path(begun.recipes) / "virc" / "runs" / "run.py").is_file()
    assert "the code that mine was begun with is gone" in capsys.readouterr().err


def make_saved(run: Run, step: int, **settings: Any) -> None:
    """Give the run 24 rows, four a step, and a checkpoint."""
    config = msgspec.to_builtins(stages.resolve(systems.get("tiny"), "instruct", []).config)
    config |= {"train_batch_size": 4, "steps": None, **settings}
    write(run, name="mine", rows=24, settings=config)
    (run.folder / "settings.yaml").write_text("# tiny-instruct\n" + inputs.settings_text(runs.info(run)))
    saved = run.checkpoints / f"checkpoint-{step}"
    saved.mkdir(parents=True)
    for name in ("config.json", "tokenizer_config.json", "model.safetensors"):
        shutil.copy(EMBEDDED_FOLDER / name, saved)
    (saved / "scheduler.pt").touch()
    (saved / "trainer_state.json").write_text("{}")
    runs.write_state(run, progress="finished", step=step, total=6, attempt=1)


def test_resume_with_set_gives_a_run_a_later_end(run: Run) -> None:
    make_saved(run, 6)
    before = runs.info(run).settings
    with pytest.raises(ConfigError, match="mine has trained 6 steps, and would end at 3"):
        continued.change_settings(run, {"steps": 3}, (), Reporter())
    with pytest.raises(UsageError, match="can set epochs, steps, devices, gpus, and not learning_rate"):
        continued.change_settings(run, {"learning_rate": 1e-3}, (), Reporter())
    assert runs.info(run).settings == before
    refused = virc("train", "--resume", "--name", "mine", "--set", "steps=x")
    assert (refused.code, "steps" in refused.err) == (3, True), refused.err
    continued.change_settings(run, {}, ["epochs=2"], Reporter())
    assert (runs.state(run).progress, runs.state(run).step, runs.state(run).total) == ("stopped", 6, 12)
    assert runs.info(run).settings == {**before, "epochs": 2.0}
    text = (run.folder / "settings.yaml").read_text()
    assert (text[:16], yaml.safe_load(text)["epochs"]) == ("# tiny-instruct\n", 2.0)
    assert "epochs: 2.0  # --resume --set, 1.0 before\n" in text
    assert runs.info(run).origins["epochs"] == "--resume --set, 1.0 before"


def test_a_run_of_deepspeed_does_not_resume_on_other_devices(run: Run) -> None:
    make_saved(run, 3, zero=2, devices=2, device="cuda", use_liger=False)
    with pytest.raises(ConfigError, match="DeepSpeed resumes on as many devices as saved: 2 a node") as caught:
        continued.change_settings(run, {"devices": 4}, (), Reporter())
    assert "--from mine --config runs/mine/settings.yaml --set devices=4" in str(caught.value.hint)
