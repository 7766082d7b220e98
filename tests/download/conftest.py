"""No token, cache or setting of the user's own is seen; nobody waits long for the next try, nor for the disk."""

import os
from pathlib import Path

import pytest
from huggingface_hub import constants

from virc.download.hub import content, listing


@pytest.fixture(autouse=True)
def _own_hub_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("HF_ENDPOINT", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)  # these the library read at its import
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "home" / "token"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "home" / "hub"))
    for module in (listing, content):
        monkeypatch.setattr(module, "FIRST_WAIT", 0.001)
    for name in ("sync", "fsync"):  # what survives a loss of power no test can tell; others write meanwhile
        monkeypatch.setattr(os, name, lambda *_: None)
