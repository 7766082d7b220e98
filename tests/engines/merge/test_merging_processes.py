"""What the processes that merge weights have in common, and when an adapter parts weights that were tied."""

import sys
from collections import namedtuple
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from virc.core.errors import SetupError
from virc.engines.merge import adapter
from virc.engines.merge import common as merging

Usage = namedtuple("Usage", "total used free")
GIB = 2**30


@pytest.mark.parametrize(
    ("needed", "disk", "memory", "said"),
    [
        (4, 5, 5, None),
        (4, 4, 5, "takes 4.0 GiB, and 4.0 are free in"),
        (4, 5, 3, "takes 4.0 GiB of memory, and 3.0 are free"),
    ],
)
def test_weights_that_do_not_fit_are_refused_before_they_are_read(
    needed: int, disk: int, memory: int | None, said: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(device=str))  # type: ignore[arg-type]
    monkeypatch.setattr(merging.shutil, "disk_usage", lambda folder: Usage(0, 0, disk * GIB))
    monkeypatch.setattr(merging.devices, "free_memory", lambda device: None if memory is None else memory * GIB)
    if said is None:
        merging.check_room(needed * GIB, tmp_path)
        return
    with pytest.raises(SetupError, match=said):
        merging.check_room(needed * GIB, tmp_path)


def network(*tied: str) -> Any:
    """A model whose weights of these names are those of the weight before."""
    import torch

    model: Any = torch.nn.Module()
    for at, name in enumerate(("embed", "head", "norm", "other")):
        setattr(
            model, name, model.embed if name in tied and at == 1 else torch.nn.Parameter(torch.full((2,), float(at)))
        )
    if "other" in tied:
        model.other = model.norm
    text = SimpleNamespace(tie_word_embeddings=True)
    model.config = SimpleNamespace(tie_word_embeddings=True, get_text_config=lambda: text)
    return model


@pytest.mark.integration
@pytest.mark.parametrize(
    ("tied", "changed", "stays"),
    [(("head",), ("embed", "head"), True), (("head",), ("head",), False), (("head", "other"), ("other",), False)],
)
def test_an_adapter_of_one_of_two_tied_weights_parts_them(
    tied: tuple[str, ...], changed: tuple[str, ...], stays: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    def add(model: Any, folder: Path) -> None:
        for name in changed:
            setattr(model, name, torch.nn.Parameter(torch.full((2,), 9.0)))

    model = network(*tied)
    assert sorted(map(sorted, merging.tied(model))) == [
        pair for pair in (["embed", "head"], ["norm", "other"]) if pair[1] in tied
    ]
    saved, checked = list[Any](), list[Any]()
    for module, name in ((adapter.checkpoint, "check"), (adapter.lora, "check"), (merging, "check_room")):
        monkeypatch.setattr(module, name, lambda *given: checked.append(given))
    monkeypatch.setattr(adapter.checkpoint, "file_bytes", lambda base: 1)
    monkeypatch.setattr(adapter.local, "read_network", lambda base, dtype: model)
    monkeypatch.setattr(adapter.lora, "merge", add)
    monkeypatch.setattr(merging, "save", lambda network, folder: saved.append((network, folder)) or 8)
    assert adapter.merge(["base", "adapter", "to"]) == 8
    assert saved == [(model, Path("to"))]
    assert checked == [(Path("base"),), (Path("adapter"),), (1, Path("to"))]
    assert (model.config.tie_word_embeddings, model.config.get_text_config().tie_word_embeddings) == (stays, stays)


def test_whoever_reads_the_config_reads_the_weights(tmp_path: Path) -> None:
    class Network:
        def save_pretrained(self, folder: Path, **_: object) -> None:
            for name, mode in (("config.json", 0o640), ("model.safetensors", 0o600)):
                (folder / name).touch(mode)

        def parameters(self) -> list[Any]:
            return []

    merging.save(Network(), tmp_path)
    assert (tmp_path / "model.safetensors").stat().st_mode & 0o777 == 0o640
