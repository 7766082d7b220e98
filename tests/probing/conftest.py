"""An environment of its own for every test: what is kept, and what is configured, lies in the test's folder."""

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

RED = (220, 20, 20)


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty working folder, no settings, nothing kept."""
    for name in ("VIRC_MODEL", "VIRC_ENDPOINT", "VIRC_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")
    monkeypatch.setenv("VIRC_CONFIG", str(tmp_path / "config.yaml"))
    monkeypatch.setenv("VIRC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    monkeypatch.chdir(workspace)
    return workspace


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
