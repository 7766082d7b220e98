"""Keys of the environment: which they are, and the file that hands them on."""

import os
import stat
from pathlib import Path

import pytest

from virc.core import credentials


@pytest.mark.parametrize(
    "name", ["VIRC_JUDGE_KEY", "VIRC_JUDGE_KEY_CROPS", "WANDB_API_KEY", "HF_HUB_TOKEN", "A_SECRET"]
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
    credentials.write(file, {"MADE_UP_KEY": "one", "OTHER_KEY": "two"})
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
