"""A toy engine: a wheel of one module, its pins and its YAML, so that real uv makes a real environment in a second."""

import hashlib
import io
import tarfile
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


def source(folder: Path, version: str, built: Path) -> Path:
    """Build a source distribution whose build leaves the file `built`."""
    path = folder / f"toy-{version}.tar.gz"
    setup = (
        f"open({str(built)!r}, 'w')\nfrom setuptools import setup\nsetup(name='toy', version={version!r})\n".encode()
    )
    with tarfile.open(path, "w:gz") as file:
        entry = tarfile.TarInfo(f"toy-{version}/setup.py")
        entry.size = len(setup)
        file.addfile(entry, io.BytesIO(setup))
    return path


def pinned(file: Path) -> str:
    """The line of a requirement file that pins a distribution."""
    name, version, *_ = file.name.removesuffix(".tar.gz").split("-")
    return f"{name}=={version} \\\n    --hash=sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}\n"


def install_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str = "") -> Path:
    """Let `toy` be the only engine, its wheel the only package, and `tmp_path/cache` the cache; returns the pins."""
    folder = tmp_path / "engines"
    pin = pinned(wheel(tmp_path / "wheels", code=code))
    folder.mkdir()
    (folder / "toy.yaml").write_text("name: toy\nwhat: a toy\ncheck: toy\ngib: {cpu: 1, cuda: 2}\n")
    for device in ("cpu", "cuda"):
        (folder / f"toy-{device}.in").write_text("toy==1.0\n")
        (folder / f"toy-{device}.txt").write_text(f"# made\n{pin}")
    monkeypatch.setattr(envs, "FOLDER", folder)
    monkeypatch.setenv("VIRC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("UV_NO_INDEX", "1")
    monkeypatch.setenv("UV_FIND_LINKS", str(tmp_path / "wheels"))
    envs.discover.cache_clear()
    return folder / "toy-cpu.txt"
