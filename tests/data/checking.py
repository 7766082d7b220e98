"""What the tests of `virc data check` share: a good set to break, and the entry point."""

import atexit
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from support import crux
from support.called import Done, virc

Rows = list[dict[str, Any]]
NAME = "ViRC_scale_dynamic"
FILE = f"{NAME}.json"


@cache
def whole() -> crux.Crux:
    """A good set, made once."""
    folder = Path(tempfile.mkdtemp(prefix="virc-check-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return crux.build(folder / "crux", 7, unpacked=True)


def good_set(folder: Path) -> Path:
    """Its trajectories in pixels, with their images, in a folder of their own."""
    folder.mkdir()
    shutil.copytree(whole().folder / crux.IMAGES / "dynamic", folder / crux.IMAGES / "dynamic", copy_function=os.link)
    info = json.loads((whole().folder / "dataset_info.json").read_text())[crux.DYNAMIC]
    write(folder / "dataset_info.json", {NAME: info | {"file_name": FILE}})
    write(folder / FILE, json.loads(whole().dynamic.read_text()))
    return folder


def write(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")


def broken(folder: Path, change: Callable[[Rows, Path], object]) -> Path:
    """A good set whose rows, or anything else in its folder, were changed."""
    good_set(folder)
    rows = json.loads((folder / FILE).read_text())
    change(rows, folder)
    write(folder / FILE, rows)
    return folder


def checked(*words: object, workers: int = 1) -> Done:
    return virc("data", "check", *words, "--workers", workers)


def report(*words: object, workers: int = 1) -> dict[str, Any]:
    done = checked(*words, "--json", workers=workers)
    assert done.code == (5 if done.json["stops"] else 0), done.err
    return done.json
