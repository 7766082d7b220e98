"""An empty working directory that no setting of the user reaches."""

from pathlib import Path

import pytest
from support.workspaces import own_settings


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that commands run in."""
    monkeypatch.chdir(tmp_path)
    own_settings(monkeypatch, tmp_path)
    return tmp_path
