from pathlib import Path

import pytest

from virc.tools import registry as tools


@pytest.fixture(autouse=True)
def none_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "_CUSTOM", {})


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of `VIRC_PATH` with one tool."""
    from tools.test_own_tools import ROTATE

    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "rotate_image.py").write_text(ROTATE)
    monkeypatch.setenv("VIRC_PATH", str(folder))
    return folder
