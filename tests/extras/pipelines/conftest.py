"""A working folder without models and settings, and a picture."""

from pathlib import Path

import pytest
from support.solving import picture
from support.workspaces import empty_workspace


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that commands run in."""
    return empty_workspace(monkeypatch, tmp_path)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A picture of 112 x 84 px."""
    return picture(tmp_path / "figure.png")
