"""No config file, cache or variable of this machine, and the pictures that are asked about."""

from pathlib import Path

import pytest
import targets

OURS = ("VIRC_MODEL", "VIRC_ENDPOINT", "VIRC_API_KEY", "OPENAI_API_KEY", "HF_HUB_OFFLINE", "DO_NOT_TRACK")


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty config and cache, and a working folder without models."""
    for name in OURS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")
    monkeypatch.setenv("VIRC_CONFIG", str(tmp_path / "config.yaml"))
    monkeypatch.setenv("VIRC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "*")
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    monkeypatch.chdir(workspace)


@pytest.fixture(scope="session")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """1400 x 1008 pixels, the coloured place is 210 x 151 of them."""
    return targets.write_picture(tmp_path_factory.mktemp("pictures") / "page.png")


@pytest.fixture(scope="session")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """4032 x 3024 pixels, as a telephone makes them."""
    return targets.write_picture(tmp_path_factory.mktemp("pictures") / "photo.png", (4032, 3024))


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """448 x 336 pixels, for what is said of any picture."""
    return targets.write_picture(tmp_path_factory.mktemp("pictures") / "small.png", (448, 336))
