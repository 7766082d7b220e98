"""A workspace of its own for each test, on a machine where the engines' environments are registered."""

from pathlib import Path

import finished
import pytest


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that commands are called in."""
    cache = tmp_path / "cache"
    monkeypatch.setenv("VIRC_CACHE", str(cache))
    finished.environments(cache)
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder
