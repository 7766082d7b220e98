from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of Python name files below this folder."""
    monkeypatch.chdir(tmp_path)
