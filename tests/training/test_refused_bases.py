"""Weights that no engine trains are refused with their cause by the dry run."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.called import virc

from virc.models.registry import EMBEDDED_FOLDER

WEIGHTS = "model.safetensors"


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    assert virc("data", "synth", "--to", "data/polygons", "--count", 4, "--workers", 1, "--formats", "sft").code == 0
    return Path(shutil.copytree(EMBEDDED_FOLDER, tmp_path / "base"))


def settings(base: Path, **changes: Any) -> None:
    file = base / "config.json"
    file.write_text(json.dumps(json.loads(file.read_bytes()) | changes))


def in_shards(base: Path) -> None:
    (base / WEIGHTS).rename(base / "model-00001-of-00002.safetensors")
    listed = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (base / f"{WEIGHTS}.index.json").write_text(json.dumps({"weight_map": listed}))


def pickled(base: Path, name: str) -> None:
    (base / WEIGHTS).rename(base / name)


def of_type(base: Path, kind: str) -> None:
    header = json.dumps({"layer": {"dtype": kind, "shape": [2, 2], "data_offsets": [0, 4]}}).encode()
    (base / WEIGHTS).write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda base: (base / WEIGHTS).unlink(), f"is incomplete: {WEIGHTS} is missing"),
        (in_shards, "is incomplete: model-00002-of-00002.safetensors is missing"),
        (lambda base: (base / WEIGHTS).write_bytes((base / WEIGHTS).read_bytes()[:-9]), "it ends too early"),
        (lambda base: pickled(base, "pytorch_model.bin"), "has pickled weights only"),
        (lambda base: settings(base, quantization_config={"quant_method": "awq", "bits": 4}), "is quantized (awq)"),
        (lambda base: settings(base, text_config={"quantization_config": {"quant_method": "gptq"}}), "(gptq)"),
        (lambda base: of_type(base, "F8_E4M3"), "is quantized (F8_E4M3)"),
    ],
)
def test_weights_that_no_engine_trains_are_refused(change: Callable[[Path], object], said: str, base: Path) -> None:
    change(base)
    done = virc("train", "tiny", "--stage", "instruct", "--from", str(base), "--dry-run")
    assert done.code == 3, done.err
    assert said in done.err
    assert "hint: " in done.err
    assert "weights_only" not in done.err
