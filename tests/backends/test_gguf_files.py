"""What a GGUF file says of itself, and which vision tower beside it is its own."""

import struct
from pathlib import Path
from typing import Any

import pytest

from virc.backends.gguf import header, model
from virc.core.errors import ConfigError

WIDE = {"general.architecture": "qwen2vl", "qwen2vl.embedding_length": 64}
TOWER = {"general.architecture": "clip"}


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def entry(key: str, value: Any) -> bytes:
    """A key with its value, by ggml's numbers of types."""
    if isinstance(value, list):
        return text(key) + struct.pack("<IIQ", 9, 8, len(value)) + b"".join(map(text, value))
    if isinstance(value, str):
        return text(key) + struct.pack("<I", 8) + text(value)
    kind, form = (7, "<?") if isinstance(value, bool) else (6, "<f") if isinstance(value, float) else (4, "<I")
    return text(key) + struct.pack("<I", kind) + struct.pack(form, value)


def write(file: Path, keys: dict[str, Any], version: int = 3, tensors: tuple[int, ...] = ()) -> Path:
    """A GGUF file with these keys, and tensors that begin so many bytes behind its header."""
    listed = b"".join(text("t") + struct.pack("<IQIQ", 1, 4, 0, each) for each in tensors)
    count = struct.pack("<IQQ", version, len(tensors), len(keys))
    file.write_bytes(b"GGUF" + count + b"".join(entry(*each) for each in keys.items()) + listed)
    return file


@pytest.mark.parametrize(
    ("towers", "own"),
    [
        ({"mmproj-a.gguf": 32, "MMPROJ-b.GGUF": 64}, "MMPROJ-b.GGUF"),
        ({"mmproj-a.gguf": 64, "mmproj-M-Q8.gguf": 64}, "mmproj-M-Q8.gguf"),  # two fit, one has its name
        ({"mmproj-a.gguf": 64, "mmproj-b.gguf": b"GGUF"}, "mmproj-a.gguf"),  # another one is damaged
    ],
)
def test_a_model_has_the_vision_tower_that_fits_it(tmp_path: Path, towers: dict[str, Any], own: str) -> None:
    file = write(tmp_path / "m-q8.gguf", WIDE)
    put(tmp_path, towers)
    assert model.read_gguf(file).vision.name == own


@pytest.mark.parametrize(
    ("towers", "says"),
    [
        ({}, "sees no images: there is no vision tower next to it"),
        ({"mmproj-a.gguf": 64, "mmproj-b.gguf": None}, "2 vision towers are next to .*: mmproj-a.gguf, mmproj-b.gguf"),
        ({"mmproj.gguf": b"<html>"}, r"mmproj\.gguf next to .* is no GGUF file or is damaged"),
    ],
)
def test_a_model_without_a_vision_tower_of_its_own_is_refused(
    tmp_path: Path, towers: dict[str, Any], says: str
) -> None:
    file = write(tmp_path / "m-q8.gguf", WIDE)
    put(tmp_path, towers)
    with pytest.raises(ConfigError, match=says) as refused:
        model.read_gguf(file)
    assert refused.value.hint or isinstance(towers.get("mmproj.gguf"), bytes)


def put(folder: Path, towers: dict[str, Any]) -> None:
    for name, width in towers.items():
        if isinstance(width, bytes):
            (folder / name).write_bytes(width)
        else:
            write(folder / name, TOWER | ({} if width is None else {"clip.vision.projection_dim": width}))


@pytest.mark.parametrize(
    ("version", "tensors", "cut", "says"),
    [
        (3, (0,), 0, None),
        (1, (), 0, "version 1 with 2 keys"),
        (3, (1, 0), 0, "it ends too early"),  # before the first byte of the tensor that stands last
    ],
)
def test_a_file_that_is_cut_is_told_from_a_whole_one(
    tmp_path: Path, version: int, tensors: tuple[int, ...], cut: int, says: str | None
) -> None:
    file = write(tmp_path / "m.gguf", WIDE, version, tensors)
    file.write_bytes(file.read_bytes()[: -cut or None])
    if says is None:
        assert header.read_header(file) == WIDE
        return
    with pytest.raises(ConfigError, match=f"is a damaged GGUF file: {says}"):
        header.read_header(file)
    file.write_bytes(b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 2**62))
    with pytest.raises(ConfigError, match=f"is a damaged GGUF file: a text of {2**62} bytes"):
        header.read_header(file)
