from pathlib import Path

import pytest

from virc.backends import devices
from virc.core.errors import SetupError

NO_CUDA = pytest.mark.usefixtures("_no_cuda")
VERSION = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19 01:15:15 UTC 2023\nGCC version:\n"


@pytest.fixture
def _no_cuda() -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU that works")


@pytest.fixture
def nvidia(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine whose driver lists one GPU."""
    (tmp_path / "gpus" / "0000:01:00.0").mkdir(parents=True)
    (tmp_path / "version").write_text(VERSION)
    monkeypatch.setattr(devices, "_NVIDIA", tmp_path)
    return tmp_path


@pytest.mark.usefixtures("nvidia")
@pytest.mark.parametrize(("works", "taken"), [({"cuda", "mps"}, "cuda"), ({"mps"}, "mps"), (set[str](), "cpu")])
def test_the_first_that_works_of_cuda_metal_and_cpu_is_taken(
    works: set[str], taken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "_unusable", lambda name: None if name in {*works, "cpu"} else "so")
    device, line = devices.choose()
    assert device.type == taken
    assert line == (None if taken == "cuda" else f"there is an NVIDIA GPU that cannot be used: so; using {taken}")


@NO_CUDA
def test_a_device_that_is_asked_for_and_does_not_work_is_an_error(nvidia: Path) -> None:
    with pytest.raises(SetupError, match=r"device cuda:3 cannot be used: driver 535\.104\.05"):
        devices.choose("cuda:3")
