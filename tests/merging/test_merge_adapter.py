"""Adapters are added to their base, and whole checkpoints copied, by the real command; the models answer."""

import shutil
from pathlib import Path

import pytest
from support import small_lora
from support.called import virc

from virc.models.registry import EMBEDDED_FOLDER
from virc.runs import run as runs

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

PICTURE = Path(__file__).parents[1] / "pictures" / "triangle.png"
QUESTION = "What is m∠B in triangle MBH?"


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VIRC_CONFIG", str(tmp_path / "config.yaml"))
    return tmp_path


def answer(model: str) -> tuple[str, list[str]]:
    """What `virc solve` says, and its thoughts, without how long it expects to take."""
    done = virc("solve", "--device", "cpu", "--model", model, PICTURE, QUESTION)
    return done.out, [line for line in done.err.splitlines() if model not in line and "image tokens" not in line]


def test_a_merged_model_says_what_the_adapter_says(workspace: Path) -> None:
    small_lora.write(workspace / "lora", lora_alpha=1)
    shutil.copyfile(EMBEDDED_FOLDER / "virc_protocol.json", workspace / "lora" / "virc_protocol.json")
    done = virc("merge", "lora", "--to", "models/merged")
    assert done.code == 0, done.err
    assert done.out == "models/merged\n"
    assert "asked about a drawn diagram" in done.err
    assert "virc push models/merged USER/merged" in done.err
    said = answer("merged")
    assert said[0].strip().isdecimal()
    assert said == answer("lora")


def test_a_merged_folder_has_all_that_a_model_needs(workspace: Path) -> None:
    small_lora.write(workspace / "lora")
    said = virc("merge", "lora", "--json").json
    folder = Path(said["to"])
    assert (said["kind"], said["error"], said["parameters"]) == ("adapter", None, 1_527_424)
    names = {path.name for path in folder.iterdir()}
    assert {"model.safetensors", "config.json", "tokenizer.json", "README.md", "virc_origin.json"} < names
    assert (folder / "virc_protocol.json").read_bytes() == (EMBEDDED_FOLDER / "virc_protocol.json").read_bytes()
    assert (folder / "tokenizer.json").read_bytes() == (EMBEDDED_FOLDER / "tokenizer.json").read_bytes()
    assert "made from | lora: the adapter was added" in (folder / "README.md").read_text()
    assert [path.name for path in (workspace / "models").iterdir()] == [folder.name]


def test_a_whole_checkpoint_is_copied_without_what_resuming_needs(workspace: Path) -> None:
    from support.made import make

    run = make(workspace, "first", 8, base=str(EMBEDDED_FOLDER))
    saved = run.checkpoints / "checkpoint-8"
    shutil.copytree(EMBEDDED_FOLDER, saved)
    for name in ("trainer_state.json", "optimizer.pt", "scheduler.pt", "training_args.bin"):
        (saved / name).write_text("{}")
    done = virc("merge", "first")
    assert done.code == 0, done.err
    folder = workspace / "models" / "first"
    assert (folder / "model.safetensors").read_bytes() == (saved / "model.safetensors").read_bytes()
    assert not {path.name for path in folder.iterdir()} & {"optimizer.pt", "training_args.bin"}
    assert f"| overlays | {', '.join(runs.info(run).overlays)} |" in (folder / "README.md").read_text()
    assert answer("first")[0] == answer("first@8")[0]
