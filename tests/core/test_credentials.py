"""Keys of the environment: which they are, and the file that hands them on."""

import os
import stat
from pathlib import Path

import pytest

from virc.core import credentials
from virc.core.errors import ConfigError


def test_secrets_are_known_by_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(credentials.HIDDEN, "PLAIN,OTHER")
    secret = ["VIRC_JUDGE_KEY_CROPS", "WANDB_API_KEY", "HF_TOKEN", "A_SECRET_B", "DB_PASSWORD", "PLAIN", "X_KEY_FILE"]
    shown = ["VIRC_CREDENTIALS", "KEYBOARD", "X_KEYS", "TOKENIZERS_PARALLELISM", "HF_TOKENS", "PLAI", "PATH", ""]
    assert [name for name in (*secret, *shown) if credentials.is_secret(name)] == secret


def test_a_file_hands_them_on_and_its_owner_alone_reads_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "credentials.json"
    file.write_text("old")
    file.chmod(0o644)
    credentials.write(file, {"OTHER_KEY": "two", "MADE_UP_KEY": "one"})
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    monkeypatch.setenv(credentials.FILE, str(file))
    monkeypatch.setenv("OTHER_KEY", "mine")
    monkeypatch.setenv("MADE_UP_KEY", "")
    monkeypatch.delenv("MADE_UP_KEY")
    credentials.load()
    assert (os.environ["MADE_UP_KEY"], os.environ["OTHER_KEY"]) == ("one", "mine")
    monkeypatch.delenv("MADE_UP_KEY")
    file.unlink()
    credentials.load()
    assert "MADE_UP_KEY" not in os.environ


def test_a_key_in_a_variable_is_its_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPOT", " s3cret\r\n")
    assert credentials.key_of("env:SPOT") == "s3cret"
    assert credentials.key_of("s3cret") is None
    monkeypatch.setenv("SPOT", " ")
    with pytest.raises(ConfigError, match="the variable SPOT is not set"):
        credentials.key_of("env:SPOT")
