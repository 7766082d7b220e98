"""Rollouts in the real packages of trackers, which write into a folder and ask for no host."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from cli.test_packaging import uv
from support.engine_python import interpreter

import virc
from virc.engines.environment import SILENT, of_trackers
from virc.envs.pins import ADDED, FOLDER, PYTHON

pytestmark = pytest.mark.timeout(900)

CHILD = Path(__file__).with_name("trackers_child.py")
PICTURES = {
    "mlflow": ("mlflow/*/*/artifacts/table_images/val/rollouts/*.png", 2),
    "swanlab": ("swanlog/*/media/image/*.png", 2),
    "tensorboard": ("tensorboard/*", 1),  # one file has all
    "trackio": ("trackio/media/virc/mine/*/*.png", 2),
    "wandb": ("wandb/offline-*/files/media/images/val/*.png", 1),  # the two are one picture
}
"""Tracker -> its files of pictures, and how many there are of two rollouts."""
TEXTS = {
    "mlflow": ("mlflow/*/*/artifacts/val/rollouts.json", "format 1, answer 0"),
    "swanlab": ("swanlog/*/*.swanlab", "reward 0.5 (format 1, answer 0)"),
    "tensorboard": ("tensorboard/*", "reward 0.5 (format 1, answer 0)"),
    "trackio": ("trackio/virc.db", "format 1, answer 0"),
    "wandb": ("wandb/offline-*/files/media/metadata/boxes2D/val/*.json", '"box_caption":"crop_image"'),
}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The newest trackers that the environments of engines do not have."""
    folder = tmp_path_factory.mktemp("trackers")
    uv("venv", "--python", sys.executable, folder, folder=folder)
    python = folder / "bin" / "python"
    uv("pip", "install", "--python", python, "-r", FOLDER / "common.in", "mlflow", "trackio", "swanlab",
       folder=folder)  # fmt: skip
    return python


@pytest.mark.parametrize(
    "name",
    [
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("mlflow", "swanlab", "trackio")),
        *(pytest.param(name, marks=pytest.mark.engine) for name in ("tensorboard", "wandb")),
    ],
)
def test_a_tracker_has_the_pictures_and_the_rewards_and_asks_no_host(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    is_of_engine = name in ("tensorboard", "wandb")
    python = interpreter("rl") if is_of_engine else request.getfixturevalue("installed")
    outside = {name: os.environ[name] for name in ("PATH", "HOME")}  # trackers are silent where they see CI or pytest
    own = of_trackers(cast(Any, SimpleNamespace(trackers=(name,))), tmp_path)
    code = {"PYTHONPATH": str(Path(virc.__file__).parents[1])}
    env = outside | SILENT | own | code | {"WANDB_MODE": "offline"}
    done = subprocess.run([python, CHILD, name, tmp_path], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (json.loads(done.stdout.splitlines()[-1]), "does not take" in done.stdout) == ([], False)
    pattern, count = PICTURES[name]
    assert len([*tmp_path.glob(pattern)]) == count
    pattern, text = TEXTS[name]
    assert any(text.encode() in file.read_bytes() for file in tmp_path.glob(pattern))


@pytest.mark.slow
@pytest.mark.parametrize("environment", ["rl-cpu", "rl-cuda", "sft-cpu", "sft-cuda"])
def test_the_newest_trackers_can_be_added_to_an_environment(environment: str, tmp_path: Path) -> None:
    wanted = tmp_path / "wanted.in"
    wanted.write_text("mlflow>=3.17\nswanlab>=0.10\ntrackio>=0.43\nwandb>=0.31\n")
    of_engine = FOLDER / f"{environment}.override"
    words = ("--override", ADDED, *(("--override", of_engine) if of_engine.exists() else ()))
    target = ("--python-version", PYTHON, "--python-platform", "x86_64-unknown-linux-gnu")
    resolved = uv("pip", "compile", FOLDER / f"{environment}.txt", wanted, *words, *target, "--quiet")
    assert {"fastapi", "uvicorn"} <= {line.partition("==")[0] for line in resolved.splitlines()}  # which they import
