"""What a model name means, and that nothing is ever downloaded to find out."""

import json
from pathlib import Path

import pytest

from virc.core.errors import ConfigError
from virc.core.files import HIDDEN
from virc.models import registry as models


def model_at(folder: Path, name: str = "config.json") -> Path:
    folder.mkdir(parents=True)
    (folder / name).write_text("{}")
    return folder


def cached(hub: Path, repo: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Lay a model into the hub's cache, as a download leaves it."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(hub))
    home = hub / f"models--{repo.replace('/', '--')}"
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "main").write_text("0123abc")
    return model_at(home / "snapshots" / "0123abc")


@pytest.fixture(autouse=True)
def no_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "empty"))


def test_a_model_in_the_hub_cache_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = cached(tmp_path / "cache", "LeonMiao/ViRC-3B", monkeypatch)
    found = models.find("LeonMiao/ViRC-3B", tmp_path)
    assert found.folder == folder
    assert found.system
    assert found.system.name == "virc"


def test_a_copy_of_somebody_else_is_not_the_released_model(tmp_path: Path) -> None:
    from virc.download.hub import record

    model_at(tmp_path / "models" / "ViRC-7B")
    with pytest.raises(ConfigError, match="someone/ViRC-7B is not on this machine") as caught:
        models.find("someone/ViRC-7B", tmp_path)
    assert caught.value.hint == "virc download someone/ViRC-7B"
    folder = model_at(tmp_path / "models" / "Qwen2.5-VL-7B-Instruct")
    (folder / HIDDEN).mkdir()
    record.write(folder, record.DownloadRecord("someone/Qwen2.5-VL-7B-Instruct", "model", "0123abc"))
    assert models.find("someone/Qwen2.5-VL-7B-Instruct", tmp_path).folder == folder
    with pytest.raises(ConfigError, match=r"judge-7b, which is .* is not on this machine"):
        models.find("judge-7b", tmp_path)


def test_a_released_model_not_here_is_fetched_by_its_short_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not on this machine") as caught:
        models.find("LeonMiao/ViRC-7B", tmp_path)
    assert caught.value.hint == "virc download ViRC-7B"


def test_a_misspelt_name_gets_the_nearest(tmp_path: Path) -> None:
    model_at(tmp_path / "models" / "household")
    for typed, meant in (("virc7b", "ViRC-7B"), ("ViRC-8B", "ViRC-"), ("househld", "household")):
        with pytest.raises(ConfigError, match="there is no model") as caught:
            models.find(typed, tmp_path)
        assert f"did you mean '{meant}" in str(caught.value.hint)


def test_an_adapter_names_its_base(tmp_path: Path) -> None:
    folder = model_at(tmp_path / "lora", "adapter_config.json")
    settings = {"peft_type": "LORA", "base_model_name_or_path": "some/base", "lora_alpha": 16}
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    with pytest.raises(ConfigError, match=r"base of the LoRA adapter .* is not on this machine: some/base") as caught:
        models.find(str(folder), tmp_path)
    assert caught.value.hint == "virc download some/base"


def test_no_name_is_the_embedded_model_whatever_lies_around(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    embedded = model_at(tmp_path / "package" / "tiny")
    monkeypatch.setattr(models, "EMBEDDED_FOLDER", embedded)
    monkeypatch.setattr(models, "PACKAGE", embedded.parent)
    monkeypatch.chdir(tmp_path)
    assert models.find("tiny", tmp_path).folder == embedded
    other = model_at(tmp_path / "tiny")
    assert models.find(None, tmp_path).folder == embedded
    assert models.find("tiny", tmp_path).folder.resolve() == other
