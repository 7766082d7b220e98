"""Checkpoints in shards: their format without tensors, and real ones, saved by verl's own code."""

import json
import os
import shutil
import subprocess
import zipfile
from pathlib import Path

from support.engine_python import interpreter

import virc
from virc.models.registry import EMBEDDED_FOLDER

HERE = Path(__file__).parent
RECIPES = Path(virc.__file__).parents[1]


def lay_out(checkpoint: Path, world: int = 2) -> Path:
    """A checkpoint that has every file verl writes, its archives empty; returns the actor's folder."""
    actor = checkpoint / "actor"
    texts = actor / "huggingface"
    texts.mkdir(parents=True)
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "preprocessor_config.json"):
        shutil.copyfile(EMBEDDED_FOLDER / name, texts / name)
    (actor / "fsdp_config.json").write_text(json.dumps({"FSDP_version": 2, "world_size": world}))
    for rank in range(world):
        with zipfile.ZipFile(actor / f"model_world_size_{world}_rank_{rank}.pt", "w") as archive:
            archive.writestr("archive/data.pkl", bytes(100))
    return actor


def python(*words: object, timeout: float = 300) -> "subprocess.CompletedProcess[str]":
    """Run verl's interpreter; its path holds this package and the tests of merging."""
    env = {**os.environ, "PYTHONPATH": f"{RECIPES}:{HERE}", "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    command = [str(interpreter("rl")), *map(str, words)]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=timeout)


def save(checkpoint: Path, world: int, *adapter: int) -> Path:
    """Save `tiny`, its weights moved a little, from so many processes; returns the actor's folder.

    Args:
        adapter: rank and alpha.
    """
    spread = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", world)
    done = python(*spread, HERE / "save_shards.py", EMBEDDED_FOLDER, checkpoint, *adapter)
    assert done.returncode == 0, done.stderr[-3000:]
    return checkpoint / "actor"
