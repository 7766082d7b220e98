"""A toy engine: a wheel of one module, its pins and its YAML, so that real uv makes a real environment in a second."""

import zipfile
from pathlib import Path

import pytest

from virc.envs import pins as envs


def wheel(folder: Path, name: str = "toy", version: str = "1.0", code: str = "") -> Path:
    """Build a wheel of one module in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    info = f"{name}-{version}.dist-info"
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(f"{name}.py", code)
        file.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        file.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr(f"{info}/RECORD", "")
    return path


def install_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str = "") -> Path:
    """Let `toy` be the only engine, its wheel the only package, and `tmp_path/cache` the cache; returns the pins."""
    folder = tmp_path / "engines"
    wheel(tmp_path / "wheels", code=code)
    folder.mkdir()
    (folder / "toy.yaml").write_text("name: toy\nwhat: a toy\ncheck: toy\ngib: {cpu: 1, cuda: 1}\n")
    for device in ("cpu", "cuda"):
        (folder / f"toy-{device}.in").write_text("toy==1.0\n")
        (folder / f"toy-{device}.txt").write_text("# made\ntoy==1.0\n")
    monkeypatch.setattr(envs, "FOLDER", folder)
    monkeypatch.setenv("VIRC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("UV_NO_INDEX", "1")
    monkeypatch.setenv("UV_FIND_LINKS", str(tmp_path / "wheels"))
    envs.discover.cache_clear()
    return folder / "toy-cpu.txt"
