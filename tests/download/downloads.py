"""What the tests of downloading share: a workspace, a hub with models in small, and the real command."""

import functools
import io
import json
import os
import random
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hub_server import Files, Hub, Repo, hub

ROOT = Path(__file__).resolve().parents[2]
BASE, MODEL, CRUX = "Qwen/Qwen2.5-VL-7B-Instruct", "LeonMiao/ViRC-7B", "LeonMiao/CRUX"
CONFIG = b'{"model_type": "qwen2_5_vl"}'

# The real command, which waits for no next try.
_SMALL = """
import os, sys
from virc.download.hub import content, listing
os.sync = lambda: None  # a kill, unlike a loss of power, needs none, and it waits for whoever else writes
content.FIRST_WAIT = listing.FIRST_WAIT = 0.01
from virc_cli.main import main
sys.exit(main(sys.argv[1:]))
"""


@functools.cache
def weights(size: int, seed: int = 0) -> bytes:
    """Bytes that do not shrink."""
    return random.Random(seed).randbytes(size)


def model(size: int = 3 << 20, seed: int = 0) -> dict[str, bytes]:
    """The files of a model in two shards, the second in a folder of its own."""
    first, second = "model-1.safetensors", "more/model-2.safetensors"
    index = {"weight_map": {"a": first, "b": second}}
    return {
        "config.json": CONFIG,
        "model.safetensors.index.json": json.dumps(index).encode(),
        first: weights(size, seed),
        second: weights(size // 2, seed + 1),
        "README.md": b"a model\n",
    }


def packed(files: dict[str, bytes]) -> bytes:
    """A tar archive of these files."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return file.getvalue()


@contextmanager
def serving(monkeypatch: Any, tmp_path: Path, repos: dict[str, Repo | Files]) -> Iterator[Hub]:
    """A hub that this process asks, and an empty workspace to stand in."""
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    monkeypatch.chdir(workspace)
    with hub(repos) as server:
        for name, value in server.env(tmp_path / "home").items():
            monkeypatch.setenv(name, value)
        yield server


def start(*words: object, **streams: Any) -> subprocess.Popen[bytes]:
    """`virc download` in a process of its own."""
    paths = os.pathsep.join((str(ROOT), str(ROOT / "recipes")))
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams}
    return subprocess.Popen(
        [sys.executable, "-c", _SMALL, "download", *map(str, words)],
        env={**os.environ, "PYTHONPATH": paths, "COLUMNS": "100"},
        **streams,
    )


def held(folder: Path) -> dict[str, bytes]:
    """Every file under its name; what is ours alone is left out."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and ".virc-download" not in path.relative_to(folder).parts
    }
