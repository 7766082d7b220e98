"""Keys of the environment: which they are, and the file that hands them on."""

import os
import stat
from pathlib import Path

import pytest

from virc.core import credentials
from virc.core.errors import ConfigError


@pytest.mark.parametrize(
    "name", ["VIRC_JUDGE_KEY", "VIRC_JUDGE_KEY_CROPS", "WANDB_API_KEY", "HF_HUB_TOKEN", "A_SECRET", "DB_PASSWORD"]
)
def test_secrets_are_known_by_their_names(name: str) -> None:
    assert credentials.is_secret(name)


@pytest.mark.parametrize("name", ["VIRC_CREDENTIALS", "VIRC_PATH", "TOKENIZERS_PARALLELISM", "PYTHONHASHSEED"])
def test_other_variables_are_none(name: str) -> None:
    assert not credentials.is_secret(name)


def test_names_that_do_not_look_like_keys_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    listed = credentials.hidden({"VIRC_SPOT": "one", "PLACE": "two"})
    assert listed == {credentials.HIDDEN: "PLACE,VIRC_SPOT"}
    assert not credentials.is_secret("VIRC_SPOT")
    monkeypatch.setenv(*listed.popitem())
    assert credentials.is_secret("VIRC_SPOT")
    assert credentials.is_secret("PLACE")
    assert not credentials.is_secret("VIRC")
    assert credentials.hidden({}) == {}


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


@pytest.mark.parametrize(
    ("content", "mode", "says"),
    [
        (b"s3cret\n", 0o600, ""), (b"s3cret\n", 0o400, ""),
        (b"s3cret", 0o640, "chmod 600"), (b"s3cret", 0o604, "chmod 600"),
        (b"two keys", 0o600, "must hold one key"), (b"\n", 0o600, "must hold one key"),
        (b"\xff", 0o600, "cannot be read"), (b"x" * 4097, 0o600, "must hold one key"),
    ],
)  # fmt: skip
def test_a_key_in_a_file_is_its_one_line_and_its_owners(
    tmp_path: Path, content: bytes, mode: int, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (file := tmp_path / "key").write_bytes(content)
    file.chmod(mode)
    if says:
        with pytest.raises(ConfigError) as refused:
            credentials.key_of(f"file:{file}")
        assert says in f"{refused.value} {refused.value.hint}"
    else:
        assert credentials.key_of(f"file:{file}") == "s3cret"
        monkeypatch.setenv("HOME", str(tmp_path))
        assert credentials.key_of("file:~/key") == "s3cret"


def test_a_key_in_a_variable_is_its_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPOT", " s3cret\r\n")
    assert credentials.key_of("env:SPOT") == "s3cret"
    assert credentials.key_of("s3cret") is None
    monkeypatch.setenv("SPOT", " ")
    with pytest.raises(ConfigError, match="the variable SPOT is not set"):
        credentials.key_of("env:SPOT")
