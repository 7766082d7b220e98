"""An empty working directory that no setting of the user reaches."""

from pathlib import Path

import pytest

_SETTINGS = ("VIRC_MODEL", "VIRC_ENDPOINT", "VIRC_API_KEY", "OPENAI_API_KEY", "VIRC_JUDGE_KEY")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that commands run in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VIRC_CONFIG", str(tmp_path / "config.yaml"))
    for name in _SETTINGS:
        monkeypatch.delenv(name, raising=False)
    return tmp_path
