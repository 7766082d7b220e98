"""Files beside a model or an adapter: refused, named, or silent."""

from pathlib import Path

import pytest

from virc.backends import inventory
from virc.core.errors import ConfigError

WEIGHTS = "adapter_model.safetensors"


def folder_of(folder: Path, *names: str) -> Path:
    for name in (WEIGHTS, *names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


@pytest.mark.parametrize("name", ["mm_projector.bin", "pytorch_model.bin", "second/adapter_model.safetensors"])
def test_weights_beside_an_adapter_are_refused_or_left_out(name: str, tmp_path: Path) -> None:
    folder = folder_of(tmp_path, name)
    with pytest.raises(ConfigError, match=name) as caught:
        inventory.of_adapter(folder)
    assert f"--ignore {name}" in str(caught.value.hint)
    assert inventory.of_adapter(folder, [name]).fields() == [{"edge": "file", "name": name, "count": 1, "first": None}]


def test_files_of_training_are_silent_and_unknown_ones_named(tmp_path: Path) -> None:
    names = ("optimizer.pt", "checkpoint-5/adapter_model.safetensors", "LICENSE", ".cache/x.bin", "train.py")
    assert [*inventory.of_adapter(folder_of(tmp_path, *names)).sentences()] == []
    assert [*inventory.of_adapter(folder_of(tmp_path, "routing.yaml")).sentences()] == [
        "not read, of files of the model's folder: routing.yaml"
    ]
