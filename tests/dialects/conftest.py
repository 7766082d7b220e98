"""No config file, cache or variable of this machine, and the pictures that are asked about."""

from pathlib import Path

import pytest
import targets
from support.workspaces import empty_workspace


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty config and cache, and a working folder without models."""
    monkeypatch.setenv("VIRC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.delenv("VIRC_OWN_WORDS", raising=False)  # models are asked as on a new machine
    empty_workspace(monkeypatch, tmp_path)


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
