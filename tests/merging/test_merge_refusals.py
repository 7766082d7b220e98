"""Adapters on bases into which they cannot be merged are refused before anything is read or written."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import small_lora
from support.called import virc
from support.tables import each_case

from virc.models.registry import EMBEDDED_FOLDER

WEIGHTS = "model.safetensors"


def with_settings(**more: Any) -> Callable[[Path], None]:
    def change(base: Path) -> None:
        file = base / "config.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), **more}))

    return change


def of_type(kind: str) -> Callable[[Path], None]:
    def change(base: Path) -> None:
        header = json.dumps({"layer": {"dtype": kind, "shape": [2, 2], "data_offsets": [0, 4]}}).encode()
        (base / WEIGHTS).write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))

    return change


@each_case(("change", "method"), [
    (with_settings(quantization_config={"quant_method": "awq", "bits": 4}), "awq"),
    (with_settings(quantization_config={"quant_method": "bitsandbytes", "load_in_4bit": True}), "bitsandbytes"),
    (with_settings(quantization_config={"quant_method": "fp8"}), "fp8"),
    (with_settings(quantization_config={"quant_method": "compressed-tensors"}), "compressed-tensors"),
    (with_settings(text_config={"quantization_config": {"quant_method": "gptq"}}), "gptq"),
    (of_type("F8_E4M3"), "F8_E4M3"), (of_type("U8"), "U8"),
])  # fmt: skip
def test_no_adapter_is_merged_into_quantized_weights(
    change: Callable[[Path], None], method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    base = tmp_path / "base"
    shutil.copytree(EMBEDDED_FOLDER, base)
    change(base)
    small_lora.describe(tmp_path / "lora", base_model_name_or_path=str(base))
    (tmp_path / "lora" / "adapter_model.safetensors").write_bytes((EMBEDDED_FOLDER / WEIGHTS).read_bytes()[:0])
    done = virc("merge", "lora", "--to", "models/merged", "--dry-run")
    assert done.code == 3, done.err
    assert f"is quantized ({method}), into which no adapter is merged" in done.err
    assert "base_model_name_or_path" in done.err
    done = virc("merge", "./base", "--gguf")
    assert (done.code, f"is quantized ({method}): it is not written" in done.err) == (3, True), done.err
    (base / f"{WEIGHTS}.index.json").write_text('{"weight_map": {"a": "model-1.safetensors"}}')
    assert "base is incomplete: model-1.safetensors is missing" in virc("merge", "./base", "--gguf").err
    assert not Path("models").exists()
