"""`virc runs extend`: a run gets a later end, and what cannot go on so is refused."""

import json
import shutil
import sys
from pathlib import Path

import msgspec
import pytest
import yaml
from support.called import virc

from virc.models.registry import EMBEDDED_FOLDER
from virc.runs import run as runs
from virc.runs.run import Info, Run
from virc.stages import resolve as stages
from virc.systems import registry as systems


def test_a_run_gets_a_later_end_and_never_an_earlier_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = Run(tmp_path / "runs" / "mine")
    config = msgspec.to_builtins(stages.resolve(systems.get("tiny"), "instruct", []).config)
    config |= {"train_batch_size": 4, "steps": None, "learning_rate": 0.001}
    about = Info(
        name="mine", system="tiny", stage="instruct", kind="sft", created="2026-01-01T00:00:00+00:00",
        base=str(EMBEDDED_FOLDER), root="tiny", data="rows.json", dataset="rows", rows=24, longest=9, settings=config,
        origins={"epochs": "--set"}, environment="sft-cpu", device="cpu", python=sys.executable, recipes="recipes",
    )  # fmt: skip
    saved = run.checkpoints / "checkpoint-6"
    saved.mkdir(parents=True)
    for name in ("config.json", "tokenizer_config.json", "model.safetensors"):
        shutil.copy(EMBEDDED_FOLDER / name, saved)
    (saved / "scheduler.pt").touch()
    (saved / "trainer_state.json").write_text("{}")
    (run.folder / "run.json").write_bytes(msgspec.json.encode(about))
    (run.folder / "settings.yaml").write_text("".join(f"{k}: {json.dumps(v)}\n" for k, v in config.items()))
    runs.write_state(run, progress="stopped", step=6, total=6, attempt=1)
    before, was = (run.folder / "run.json").read_bytes(), runs.info(run)
    refused = virc("runs", "extend", "mine", "--steps", "3")
    assert (refused.code, "a later end" in refused.err) == (3, True)
    done = virc("runs", "extend", "mine", "--epochs", "2", "--dry-run")
    assert done.out.splitlines() == [
        "mine continues from step 6 to step 12, in place of 6", "warmup_ratio: 0.025", "epochs: 2.0",
        "learning rate: 9.55e-05 at the old end, 0.000429 at step 8, 2.03e-05 at the new end",
    ]  # fmt: skip
    assert (run.folder / "run.json").read_bytes() == before
    from virc.training.extend import extend

    found = extend(run, epochs=2)
    assert (found.step, found.before, found.total, found.changed["epochs"]) == (6, 6, 12, 2.0)
    assert runs.info(run).settings == {**was.settings, **found.changed}
    assert (runs.state(run).progress, runs.state(run).step, runs.state(run).total) == ("stopped", 6, 12)
    written = yaml.safe_load((run.folder / "settings.yaml").read_text())
    assert {name: written[name] for name in found.changed} == found.changed
    assert runs.info(run).origins["epochs"] == "virc runs extend at step 6, 1.0 before"
