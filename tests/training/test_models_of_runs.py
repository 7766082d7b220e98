"""A run and an adapter are models wherever a model is named, and what they are spoken to in is theirs."""

import shutil
from pathlib import Path

import msgspec
import pytest
from support import small_lora
from support.called import virc
from support.made import make, save
from support.workspaces import empty_workspace

from virc.core.errors import ConfigError
from virc.models import chat_protocol, provenance
from virc.models import registry as models
from virc.models.registry import EMBEDDED_FOLDER
from virc.reasoning.protocol import FILE_NAME, own_protocol
from virc.runs.run import Run
from virc.systems import registry as systems


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder without models, and an empty cache of the hub."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    return empty_workspace(monkeypatch, tmp_path)


def saved(run: Run, step: int) -> Path:
    """A whole checkpoint, as a folder that is a model."""
    folder = save(run, step)
    (folder / "config.json").write_text("{}")
    return folder


def adapted(run: Run, step: int, **settings: object) -> Path:
    """A whole checkpoint that is an adapter."""
    folder = small_lora.write(run.checkpoints / f"checkpoint-{step}", **settings)
    (folder / "trainer_state.json").write_text("{}")
    return folder


def picture(folder: Path) -> Path:
    """A picture to ask about."""
    from PIL import Image

    Image.new("RGB", (56, 56), "white").save(folder / "figure.png")
    return folder / "figure.png"


def chat_protocol_in(folder: Path) -> str:
    """Put a chat protocol of its own into a folder; returns what its system calls itself there."""
    folder.mkdir(parents=True, exist_ok=True)
    protocol = msgspec.structs.replace(own_protocol([]), system=folder.name)
    (folder / FILE_NAME).write_bytes(msgspec.json.encode(protocol))
    return folder.name


def test_a_run_is_its_newest_whole_checkpoint(workspace: Path) -> None:
    run = make(workspace, "first")
    saved(run, 8)
    newest = saved(run, 12)
    saved(run, 9)
    (saved(run, 100) / "trainer_state.json").unlink()  # as a kill leaves it
    for name in ("first", "runs/first", str(run.folder)):
        found = models.find(name, workspace)
        assert (found.name, found.folder.resolve(), found.adapter) == ("first@12", newest, None)


def merged(workspace: Path, name: str, source: str | None) -> Path:
    """A model in `models/`, made from a checkpoint."""
    folder = workspace / "models" / name
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    if source:
        provenance.write(folder, provenance.Origin(kind="shards", source=source))
    return folder


@pytest.mark.parametrize("source", ["mine@40", None])
def test_a_name_of_a_model_and_of_a_run_that_saved_other_weights_is_refused(
    workspace: Path, source: str | None
) -> None:
    run = make(workspace, "mine")
    saved(run, 40)
    folder = merged(workspace, "mine", source)
    newest = saved(run, 80)
    done = virc("solve", picture(workspace), "?", "--model", "mine")
    assert (done.code, "mine is two models" in done.err) == (3, True)
    with pytest.raises(
        ConfigError, match=r"mine is two models: models/mine, made from .*, and the run mine"
    ) as refused:
        models.find("mine", workspace)
    assert refused.value.hint == "say models/mine or mine@80"
    assert models.find("models/mine", workspace).folder.resolve() == folder.resolve()
    assert models.find("mine@80", workspace).folder.resolve() == newest


def test_the_system_of_a_run_is_the_one_it_was_trained_in(workspace: Path) -> None:
    saved(make(workspace, "late", system="virc", root="ViRC-Qwen2VL-7B"), 8)
    found = models.find("late", workspace)
    assert found.system == systems.get("virc")
    assert found.model == systems.get("virc").models["ViRC-Qwen2VL-7B"]
    assert models.find("late", workspace, "tiny").system == systems.get("tiny")
    saved(make(workspace, "gone", system="elsewhere"), 8)
    assert models.find("gone", workspace).system is None


def test_the_chat_protocol_is_the_nearest_to_what_was_trained_last(workspace: Path) -> None:
    base_run, run = make(workspace, "base-run"), make(workspace, "run")
    base = saved(base_run, 4)
    adapter = adapted(run, 8, base_model_name_or_path=str(base))
    found = models.find("run", workspace)
    for folder in (base_run.folder, base, run.folder, adapter):  # the farthest first
        said = chat_protocol_in(folder)
        assert chat_protocol.of_weights(found).system == said
        assert chat_protocol.of_weights(found).name == "trained"


def test_a_run_and_the_model_merged_from_it_know_of_each_other(workspace: Path) -> None:
    make(workspace, "mine")
    folder = workspace / "models/mine-final"
    folder.mkdir(parents=True)
    provenance.write(folder, provenance.Origin(kind="adapter", source="mine@8"))
    provenance.write(workspace / "models", provenance.Origin(kind="adapter", source="minelike@8"))
    shown = virc("runs", "show", "mine", "--json").json
    assert shown["merged"] == [{"folder": str(folder), "source": "mine@8"}]
    assert "mine@8" in virc("runs", "show", "mine").out
    adapted(Run(workspace / "runs/mine"), 12)
    again = virc("merge", "mine", "--to", "models/mine-final", "--dry-run")
    assert (again.code, "models/mine-final already exists, merged from mine@8" in again.err) == (3, True), again.err
    removed = virc("runs", "rm", "mine", "--yes")
    assert (removed.code, "models/mine-final, merged from mine@8, stays" in removed.err) == (0, True), removed.err


@pytest.mark.integration
def test_json_says_what_was_loaded(workspace: Path) -> None:
    run = make(workspace, "mine")
    adapter = adapted(run, 12)
    shutil.copyfile(EMBEDDED_FOLDER / FILE_NAME, run.folder / FILE_NAME)
    words = ("solve", picture(workspace), "What?", "--max-tokens", 4, "--json", "--device", "cpu", "--model")
    loaded = virc(*words, "mine").json["loaded"]
    place = str(adapter.relative_to(workspace))
    assert loaded == {"folder": str(EMBEDDED_FOLDER), "adapter": place, "run": "mine@12", "merged_from": None}
    folder = workspace / "models/final"
    shutil.copytree(EMBEDDED_FOLDER, folder)
    provenance.write(folder, provenance.Origin(kind="adapter", source="mine@12"))
    loaded = virc(*words, "final").json["loaded"]
    assert loaded == {"folder": "models/final", "adapter": None, "run": None, "merged_from": "mine@12"}
