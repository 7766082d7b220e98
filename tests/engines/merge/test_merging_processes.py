"""What the processes that merge weights have in common."""

import sys
from collections import namedtuple
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from virc.core.errors import SetupError
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


def test_whoever_reads_the_config_reads_the_weights(tmp_path: Path) -> None:
    class Network:
        def save_pretrained(self, folder: Path, **_: object) -> None:
            for name, mode in (("config.json", 0o640), ("model.safetensors", 0o600)):
                (folder / name).touch(mode)

        def parameters(self) -> list[Any]:
            return []

    merging.save(Network(), tmp_path)
    assert (tmp_path / "model.safetensors").stat().st_mode & 0o777 == 0o640
