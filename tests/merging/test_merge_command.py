"""`virc merge` before anything is merged: what a name stands for, what is refused, what would be started."""

import json
import shutil
from pathlib import Path

import pytest
from sharded import lay_out
from support import small_lora
from support.called import virc
from support.made import make

from virc.core import entry_points
from virc.core.errors import ConfigError
from virc.envs import environment as environments
from virc.envs.pins import get
from virc.merging import source as merging
from virc.models import provenance as origin
from virc.models import registry as models
from virc.models.provenance import Origin
from virc.models.registry import EMBEDDED_FOLDER
from virc.runs.run import Run


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, and a cache with an environment of verl that only seems to be made."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("VIRC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("VIRC_CONFIG", str(tmp_path / "config.yaml"))
    environment = get("rl", "cpu", tmp_path / "cache")
    environment.marker.parent.mkdir(parents=True)
    environment.marker.write_text("{}")
    monkeypatch.setattr(environments, "default_device", lambda: "cpu")
    monkeypatch.setattr(environments, "recipes_in", environments.recipes_place)  # nothing is copied
    return folder


def test_gguf_without_the_extra_that_writes_it_ends_with_one_sentence(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entry_points, "own", lambda group: {})
    done = virc("merge", EMBEDDED_FOLDER, "--to", "made", "--gguf")
    assert (done.code, done.out) == (3, "")
    assert done.err.startswith("error: the extra of virc merge --gguf is not installed\n")
    assert not (workspace / "made").exists()


def test_a_folder_of_shards_is_merged_in_the_environment_of_verl(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    actor = lay_out(workspace / "global_step_5")
    done = virc("merge", "global_step_5", "--dry-run")
    assert done.code == 0, done.err
    words = [line.strip(" \\") for line in done.out.split("\n\n")[0].splitlines()[1:]]
    assert merging.find("global_step_5", workspace).bytes == sum(file.stat().st_size for file in actor.glob("*.pt"))
    python = str(get("rl", "cpu", workspace.parent / "cache").python)
    assert words[:3] == [python, "-m", "virc.engines.verl.merge"]
    assert words[3:] == [str(actor), str(workspace / "models" / "global_step_5")]
    assert "CUDA_VISIBLE_DEVICES=-1" in done.out
    assert not (workspace / "models").exists()
    said = virc("merge", "global_step_5/actor", "--dry-run", "--json").json
    assert said["plan"]["command"] == words
    assert (said["kind"], said["source"], said["error"]) == ("shards", "global_step_5", None)
    monkeypatch.setenv("HOME", str(workspace))
    monkeypatch.chdir("global_step_5")
    for name, folder in (("~/global_step_5", actor), (".", Path("actor"))):
        found = merging.find(name, workspace)
        assert (found.folder, found.origin.source) == (folder, "global_step_5")


def test_a_folder_that_is_there_is_never_written_over(workspace: Path) -> None:
    lay_out(workspace / "global_step_5")
    kept = workspace / "models" / "global_step_5" / "kept"
    kept.parent.mkdir(parents=True)
    kept.touch()
    (workspace / "models" / "link").symlink_to("nowhere")
    for words in ((), ("--dry-run",), ("--to", "models/global_step_5"), ("--to", "models/link")):
        done = virc("merge", "global_step_5", *words)
        assert done.code == 3, done.err
        assert f"{words[1] if words[1:] else 'models/global_step_5'} already exists\n" in done.err
    origin.write(kept.parent, Origin(kind="shards", source="other@5"))
    assert "models/global_step_5 already exists, merged from other@5\n" in virc("merge", "global_step_5").err
    (kept.parent / origin.FILE_NAME).unlink()
    assert [path.name for path in kept.parent.iterdir()] == ["kept"]


def test_shards_of_a_run_bring_its_chat_protocol_base_and_chain(workspace: Path) -> None:
    run = make(workspace, "tiny-rl", 9, kind="rl", stage="strategic", base=str(EMBEDDED_FOLDER), root="tiny")
    (run.folder / "virc_protocol.json").write_bytes((EMBEDDED_FOLDER / "virc_protocol.json").read_bytes())
    lay_out(run.checkpoints / "global_step_5")
    note(run, 5)
    place = "runs/tiny-rl/checkpoints/global_step_5"
    for name in ("tiny-rl", "tiny-rl@5", "runs/tiny-rl", place, f"{place}/actor"):
        found = merging.find(name, workspace)
        assert found.name == ("tiny-rl" if name.endswith("tiny-rl") else "tiny-rl@5")
        assert found.origin == Origin(
            kind="shards", source="tiny-rl@5", system="tiny", stage="strategic", step=5, steps=9, root="tiny"
        )
        assert (found.run, found.base) == (run, EMBEDDED_FOLDER)
        assert found.chat_protocol == run.folder / "virc_protocol.json"
        assert found.code is None
    (run.folder / "code").mkdir()
    spoken = run.checkpoints / "global_step_5" / "virc_protocol.json"
    spoken.write_text("{}")
    found = merging.find("tiny-rl", workspace)
    assert (found.code, found.chat_protocol) == (run.folder / "code", spoken)


@pytest.mark.parametrize("rslora", [True, False])
def test_an_adapter_scaled_otherwise_than_its_shards_say_is_refused(workspace: Path, rslora: bool) -> None:
    began = small_lora.describe(workspace / "lora", use_rslora=rslora)
    run = make(workspace, "tiny-rl", 9, kind="rl", base=str(EMBEDDED_FOLDER), adapter=str(began))
    actor = lay_out(run.checkpoints / "global_step_5")
    (actor / "lora_train_meta.json").write_text('{"r": 4, "lora_alpha": 8}')
    note(run, 5)
    if rslora:
        with pytest.raises(ConfigError, match="use_rslora, whose scale is not in its shards"):
            merging.find("tiny-rl", workspace)
        (actor / "lora_train_meta.json").unlink()  # all weights were trained
        assert merging.find("tiny-rl", workspace).folder == actor
    else:
        assert merging.find("tiny-rl", workspace).folder == actor


def note(run: Run, step: int) -> None:
    """Say that saving ended, as verl says it."""
    (run.checkpoints / "latest_checkpointed_iteration.txt").write_text(str(step))


def test_an_older_checkpoint_is_not_taken_for_the_newest_that_is_damaged(workspace: Path) -> None:
    run = make(workspace, "tiny-rl", 9, kind="rl", base=str(EMBEDDED_FOLDER))
    for step in (5, 10):
        lay_out(run.checkpoints / f"global_step_{step}")
    note(run, 10)
    assert merging.find("tiny-rl", workspace).origin.step == 10
    (run.checkpoints / "global_step_10" / "actor" / "model_world_size_2_rank_1.pt").unlink()
    with pytest.raises(ConfigError, match=r"the newest checkpoint of tiny-rl, of step 10, is gone") as caught:
        merging.find("tiny-rl", workspace)
    assert caught.value.hint == "the one before: virc merge tiny-rl@5"
    assert merging.find("tiny-rl@5", workspace).origin.step == 5
    note(run, 5)
    shutil.rmtree(run.checkpoints / "global_step_10")
    lay_out(run.checkpoints / "global_step_10")
    with pytest.raises(ConfigError, match=r"the last complete step is 5") as caught:
        merging.find(f"{run.checkpoints}/global_step_10", workspace)
    assert caught.value.hint == "virc merge tiny-rl@5"


def test_a_merged_model_is_of_the_system_and_chain_that_made_it(workspace: Path) -> None:
    folder = workspace / "models" / "merged"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    origin.write(folder, Origin(kind="shards", source="tiny-rl@5", system="tiny", root="tiny"))
    found = models.find("merged", workspace)
    assert found.system is not None
    assert (found.system.name, models.root_of(folder, "merged")) == ("tiny", "tiny")
    for text in ("{", json.dumps({"schema": "virc.origin/1", "kind": "shards", "source": "a\nb"}), "[]"):
        (folder / origin.FILE_NAME).write_text(text)
        assert models.find("merged", workspace).system is None
        assert models.root_of(folder, "merged") == "merged"


def test_what_a_killed_merge_left_is_no_model(workspace: Path) -> None:
    folder = workspace / "models" / ".merged.partial"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    with pytest.raises(ConfigError) as caught:
        models.find("merged", workspace)
    assert "partial" not in str(caught.value.hint)
