"""Shards that verl's own code saved become the model they were made of, by the real command."""

import os
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import sharded
from sharded import python
from support import held_engine
from support.called import virc
from support.made import make

from virc.backends import local
from virc.models import registry as models
from virc.models.registry import EMBEDDED_FOLDER

pytestmark = [pytest.mark.engine, pytest.mark.timeout(1800)]

PICTURE = Path(__file__).parents[1] / "pictures" / "triangle.png"
QUESTION = "What is m∠B in triangle MBH?"
PROTOCOL = EMBEDDED_FOLDER / "virc_protocol.json"


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same weights saved by one process and by two, and with an adapter by two: actors' folders."""
    folder = tmp_path_factory.mktemp("saved")
    found = {
        "one": sharded.save(folder / "one", 1),
        "two": sharded.save(folder / "two", 2),
        "adapter": sharded.save(folder / "adapter", 2, 4, 8),
    }
    for actor in found.values():
        shutil.copyfile(PROTOCOL, actor / PROTOCOL.name)
    return found


@pytest.fixture(scope="module")
def merged(saved: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What `virc merge` makes of them."""
    folder = tmp_path_factory.mktemp("merged")
    for name, actor in saved.items():
        done = virc("merge", actor, "--to", folder / name)
        assert done.code == 0, done.err
        assert "asked about a drawn diagram" in done.err
        assert done.out == f"{folder / name}\n"
    return {name: folder / name for name in saved}


def expected(actor: Path) -> dict[str, Any]:
    """The weights as they were when they were saved, in the number that a merge gives."""
    import torch

    found = torch.load(actor.parent / "expected.pt", weights_only=True)
    return {name: weight.bfloat16() for name, weight in found.items()}


def weights(folder: Path) -> dict[str, Any]:
    return dict(local.read_network(folder, "auto").state_dict())


@pytest.mark.parametrize("name", ["one", "two"])
def test_merged_weights_are_the_saved_ones_after_the_same_cast(
    saved: dict[str, Path], merged: dict[str, Path], name: str
) -> None:
    import torch

    found, wanted = weights(merged[name]), expected(saved[name])
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[each], wanted[each]) for each in wanted)
    before = weights(EMBEDDED_FOLDER)
    assert sum(not torch.equal(found[each], before[each]) for each in before) > 60


def test_weights_and_texts_are_those_of_verls_own_merger_to_the_byte(
    saved: dict[str, Path], merged: dict[str, Path], tmp_path: Path
) -> None:
    words = ("merge", "--backend", "fsdp", "--local_dir", saved["two"], "--target_dir", tmp_path)
    done = python("-m", "verl.model_merger", *words)
    assert done.returncode == 0, done.stderr[-3000:]
    names = {path.name for path in tmp_path.iterdir()}
    assert {"model.safetensors", "config.json", "tokenizer.json", "processor_config.json"} < names
    for world in ("one", "two"):
        for name in names:
            assert (merged[world] / name).read_bytes() == (tmp_path / name).read_bytes(), (world, name)


def test_what_an_adapter_learnt_is_in_the_weights(saved: dict[str, Path], merged: dict[str, Path]) -> None:
    import torch

    found, wanted = weights(merged["adapter"]), expected(saved["adapter"])
    assert found.keys() == wanted.keys()
    for name in wanted:
        torch.testing.assert_close(found[name], wanted[name], msg=name)
    plain = expected(saved["two"])
    changed = {name for name in plain if not torch.equal(found[name], plain[name])}
    assert changed == {name for name in plain if name.endswith(("q_proj.weight", "down_proj.weight"))}


def test_a_run_is_merged_found_by_its_name_and_answers(saved: dict[str, Path], workspace: Path) -> None:
    run = make(
        workspace, "tiny-rl", 5, kind="rl", stage="rl", base=str(EMBEDDED_FOLDER), root="tiny", environment="rl-cpu"
    )
    shutil.copyfile(PROTOCOL, run.folder / PROTOCOL.name)
    shutil.copytree(saved["two"], run.checkpoints / "global_step_5" / "actor")
    (run.checkpoints / "latest_checkpointed_iteration.txt").write_text("5")
    done = virc("merge", "tiny-rl", "--json")
    assert done.json["error"] is None, done.err
    assert done.json["protocol"] == "trained"
    assert done.json["answer"] is not None
    assert models.find("tiny-rl", workspace).folder == workspace / "models" / "tiny-rl"
    said = virc("solve", "--json", "--device", "cpu", "--model", "tiny-rl", PICTURE, QUESTION).json
    assert (said["protocol"], said["error"]) == ("trained", None)
    assert said["answer"].isdecimal()


def test_code_in_shards_is_refused_by_the_command_too_and_never_run(saved: dict[str, Path], workspace: Path) -> None:
    import torch

    actor = workspace / "hostile"
    shutil.copytree(saved["one"], actor)
    torch.save({"x": Runs(workspace / "ran")}, actor / "model_world_size_1_rank_0.pt")
    done = virc("merge", "hostile")
    assert done.code == 3, done.err
    assert "unpickling that may run code: posix.system" in done.err
    assert not (workspace / "ran").exists()
    assert list((workspace / "models").iterdir()) == []


class Runs:
    """Makes a file when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {shlex.quote(str(self.file))}",)


def start(workspace: Path, *words: object) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "virc_cli", "merge", *map(str, words)]
    return subprocess.Popen(command, cwd=workspace, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize(
    ("moment", "held"),
    [("config.json", "open:generation_config.json"), ("model.safetensors", "shutil.copymode:config.json")],
)
def test_a_kill_at_any_moment_leaves_nothing_that_looks_like_a_model(
    saved: dict[str, Path], workspace: Path, moment: str, held: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold = held_engine.hold_at(held, workspace, monkeypatch, "rl")
    process = start(workspace, saved["two"], "--to", "models/merged")
    partial = workspace / "models" / ".merged.partial"
    end = time.monotonic() + 600
    while not (partial / moment).exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (workspace / "models" / "merged").exists()
    assert all(path.name.startswith(".") for path in (workspace / "models").iterdir())
    hold.off()
    done = virc("merge", saved["two"], "--to", "models/merged")
    assert done.code == 0, done.err
    assert [path.name for path in (workspace / "models").iterdir()] == ["merged"]


def test_a_disk_that_refuses_leaves_nothing(saved: dict[str, Path], workspace: Path) -> None:
    most = 2**20  # bytes of a file, a third of the weights
    command = [sys.executable, "-m", "virc_cli", "merge", str(saved["two"])]
    done = subprocess.run(
        command, cwd=workspace, capture_output=True, text=True, timeout=300,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most, most)),
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert "the merged model cannot be written" in done.stderr
    assert done.stderr.count("\nerror: ") == 1
    assert list((workspace / "models").iterdir()) == []
