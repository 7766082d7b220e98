"""LLaMA-Factory in its own environment: programs that run there, and what its preprocessing makes of rows."""

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from support.engine_python import interpreter

import virc

RECIPES = Path(virc.__file__).parents[1]


def ran(*words: str, **env: str) -> str:
    """What a program prints that the engine's interpreter runs."""
    there = {**os.environ, "PYTHONPATH": str(RECIPES), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", **env}
    there.pop("PYTHONDONTWRITEBYTECODE", None)
    done = subprocess.run((str(interpreter("sft")), *words), env=there, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def case(folder: Path, name: str, base: Path, **values: Any) -> dict[str, Any]:
    usual = {"template": "qwen2_vl", "min_pixels": 3136, "max_pixels": 12_845_056}
    return {"folder": str(folder), "dataset": name, "base": str(base), **usual, **values}


def lengths_of(cases: Sequence[dict[str, Any]], folder: Path) -> list[dict[str, Any]]:
    """What `real_lengths.py` prints of each case; files of its own are in `folder`."""
    (folder / "cases.json").write_text(json.dumps(cases))
    words = str(Path(__file__).with_name("real_lengths.py")), str(folder / "cases.json")
    found: list[dict[str, Any]] = json.loads(ran(*words, HF_DATASETS_CACHE=str(folder / "cache")))
    return found
