"""A tracker that cannot be reached is refused before anything starts."""

from pathlib import Path

import pytest

from virc.core.errors import ConfigError
from virc.stages.resolve import resolve
from virc.systems import registry as systems
from virc.training import prepare


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("WANDB_API_KEY", "WANDB_MODE", "SWANLAB_API_KEY", "SWANLAB_MODE"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def check(*assignments: str) -> None:
    prepare.check_trackers(resolve(systems.get("visual-rft"), "detect", assignments=assignments))


def test_one_without_a_key_is_refused_with_the_ways_around_it() -> None:
    with pytest.raises(ConfigError, match=r"visual-rft-detect reports to wandb .* no WANDB_API_KEY here") as refused:
        check()
    assert refused.value.hint == "--set trackers=[], or WANDB_MODE=offline in the environment"
    with pytest.raises(ConfigError, match="no SWANLAB_API_KEY"):
        check("trackers=[swanlab]")
    check("trackers=[]")
    check("trackers=[tensorboard]")


@pytest.mark.parametrize(("name", "value"), [("WANDB_API_KEY", "k"), ("WANDB_MODE", "offline")])
def test_one_with_a_key_or_told_to_do_without_is_not(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    check()


def test_a_login_is_a_key(home: Path) -> None:
    (home / ".netrc").write_text("machine example.org login a password b\n")
    with pytest.raises(ConfigError):
        check()
    (home / ".netrc").write_text("machine api.wandb.ai login user password k\n")
    (home / ".netrc").chmod(0o600)
    check()
