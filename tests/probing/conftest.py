"""An environment of its own for every test: what is kept, and what is configured, lies in the test's folder."""

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image, ImageDraw
from support.workspaces import empty_workspace

RED = (220, 20, 20)


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty working folder, no settings, nothing kept."""
    monkeypatch.setenv("VIRC_CACHE", str(tmp_path / "cache"))
    return empty_workspace(monkeypatch, tmp_path)


@pytest.fixture
def photo(tmp_path: Path) -> Callable[[int, int], Path]:
    """Make a white picture of so many px with a red rectangle: from 3/5 to 4/5 of its width, 1/4 to 1/2 down."""

    def make(width: int, height: int) -> Path:
        image = Image.new("RGB", (width, height), "white")
        box = (width * 3 // 5, height // 4, width * 4 // 5 - 1, height // 2 - 1)
        ImageDraw.Draw(image).rectangle(box, fill=RED)
        path = tmp_path / f"photo-{width}x{height}.png"
        image.save(path)
        return path

    return make
