"""A working folder without models and settings, and a picture."""

from pathlib import Path

import pytest
from support.solving import picture


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that commands run in."""
    for name in ("VIRC_MODEL", "VIRC_ENDPOINT", "VIRC_API_KEY", "OPENAI_API_KEY", "HF_HUB_OFFLINE", "DO_NOT_TRACK"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")  # set by the command; this puts it back
    monkeypatch.setenv("VIRC_CONFIG", str(tmp_path / "config.yaml"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    folder = tmp_path / "workspace"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A picture of 112 x 84 px."""
    return picture(tmp_path / "figure.png")
