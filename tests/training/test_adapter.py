"""A LoRA adapter that LLaMA-Factory trained answers here as it does once LLaMA-Factory has merged it."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from support import held_engine, workspaces
from support.engine_python import interpreter

from virc.backends.interface import Sampling
from virc.backends.local import LocalBackend, load
from virc.models import registry as models
from virc.models.registry import EMBEDDED_FOLDER
from virc.reasoning.images import show
from virc.reasoning.session import Ask, Message
from virc.runs.run import Run

pytestmark = [pytest.mark.engine, pytest.mark.timeout(1800)]

ROWS = 64
LORA = (
    *("train", "tiny", "--stage", "instruct", "--from", "tiny", "--with", "lora"),
    *("--set", "learning_rate=1e-2", "--set", "steps=20", "--set", "train_batch_size=4", "--set", "save_steps=10"),
    *("--set", "trackers=[tensorboard]"),
)
NAME = "adapter_model.safetensors"
COMMON = {"template": "qwen2_vl", "trust_remote_code": False}
EXPORT = {**COMMON, "export_device": "cpu", "infer_dtype": "float32"}


def llamafactory(task: str, file: Path, **keys: object) -> None:
    """Run one of its commands."""
    file.write_text(yaml.safe_dump(keys))
    env = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    program = interpreter("sft").with_name("llamafactory-cli")
    done = subprocess.run([program, task, file], env=env, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with solutions that plan and verify, which `tiny` has not learnt."""
    folder = tmp_path_factory.mktemp("workspace")
    workspaces.synth(folder, ROWS, "sft", "--pattern", "plan+verify")
    return folder


@pytest.fixture(scope="module")
def rows(workspace: Path) -> Path:
    return workspace / "data" / "polygons"


@pytest.fixture(scope="module")
def trained(workspace: Path) -> Run:
    """A run of the embedded model that nothing interrupted."""
    done = workspaces.run(workspace, *LORA, "--name", "light")
    assert done.returncode == 0, done.stderr
    return Run(Path(done.stdout.strip()))


@pytest.fixture(scope="module")
def merged(trained: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run's model, merged by LLaMA-Factory; on float32 weights, as it would round the product to the base's."""
    folder = tmp_path_factory.mktemp("merged")
    base = Path(shutil.copytree(EMBEDDED_FOLDER, folder / "base"))
    load(EMBEDDED_FOLDER, device="cpu", dtype="float32").cached.network.save_pretrained(base)
    places = {"adapter_name_or_path": str(trained.checkpoints / "checkpoint-20"), "export_dir": str(folder / "whole")}
    llamafactory("export", folder / "export.yaml", model_name_or_path=str(base), **EXPORT, **places)
    return folder / "whole"


def replies(backend: LocalBackend, rows: Path) -> list[tuple[int, ...] | None]:
    """What a model says first to some of the problems, greedily."""
    from PIL import Image

    said = []
    for row in json.loads((rows / "trajectories.json").read_text())[:6]:
        system, user = (message["content"] for message in row["messages"][:2])
        image = show(Image.open(rows / row["images"][0]).convert("RGB"), backend.grid)
        ask = Ask([Message("system", system), Message("user", user.replace("<image>", "", 1), (0,))], [image])
        said.append(backend.reply(ask, Sampling(max_tokens=100)).token_ids)
    return said


def test_it_trains_and_goes_on_where_it_was_killed(
    trained: Run, workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold = held_engine.hold_at("os.mkdir:checkpoint-20", tmp_path, monkeypatch)
    loss = workspaces.losses(trained.folder)
    assert loss[20] < 0.6 * loss[1]
    run = workspace / "runs" / "again"
    first = workspaces.start(workspace, *LORA, "--name", "again")
    workspaces.until_step(first, run, 20)
    workspaces.kill_all(first, run)
    hold.off()
    second = workspaces.run(workspace, "train", "--resume", "--name", "again")
    assert second.returncode == 0, second.stderr
    assert "resuming from step 10" in second.stderr
    assert workspaces.losses(run) == loss
    assert workspaces.same(*(workspaces.weights(each, 20, NAME) for each in (run, trained.folder)))


def test_its_tracker_writes_into_the_runs_folder(trained: Run) -> None:
    assert [*(trained.folder / "tensorboard").glob("events.*")]


def test_its_answers_are_not_its_bases_and_are_those_of_the_merged_model(
    trained: Run, merged: Path, rows: Path
) -> None:
    import torch

    found = models.find("light", trained.folder.parents[1])
    assert (found.name, found.folder) == ("light@20", EMBEDDED_FOLDER)
    adapted = load(found.folder, device="cpu", adapter=found.adapter)
    whole = load(merged, device="cpu")
    said = replies(adapted, rows)
    assert said == replies(whole, rows)
    assert said != replies(load(found.folder, device="cpu"), rows)
    ours, theirs = (dict(backend.cached.network.state_dict()) for backend in (adapted, whole))
    assert ours.keys() == theirs.keys()
    for name, weight in ours.items():
        torch.testing.assert_close(weight, theirs[name], msg=name)
