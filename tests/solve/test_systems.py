"""Systems are YAML files; a key nobody reads is an error."""

from pathlib import Path

import pytest

from virc_recipes import systems
from virc_recipes.errors import ConfigError

FOLDER = Path(systems.__file__).parent


def test_every_file_is_a_system_named_as_the_file() -> None:
    assert set(systems.discover()) == {path.stem for path in FOLDER.glob("*.yaml")} >= {"virc", "tiny"}


def test_short_names_stand_for_one_model_of_one_system() -> None:
    names = [name for system in systems.discover().values() for name in system.models]
    assert len(names) == len(set(names))


def test_the_released_models_have_their_hub_ids_and_coordinates() -> None:
    models = systems.get("virc").models
    assert {name: model.hub for name, model in models.items()} == {
        name: f"LeonMiao/{name}" for name in models
    }
    assert {name for name, model in models.items() if model.coordinates == "permille"} == {
        "ViRC-Qwen2VL-7B",
        "ViRC-Qwen2VL-2B",
    }


@pytest.mark.parametrize(
    ("text", "sentence", "hint"),
    [
        ("name: x\nmodls: {}\n", "unknown key 'modls'", "'models'"),
        ("name: x\nmodels: {m: {hubb: a/b}}\n", "unknown key 'hubb'", "'hub'"),
    ],
)
def test_an_unknown_key_is_named_with_the_nearest_one(
    text: str, sentence: str, hint: str, tmp_path: Path
) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=sentence) as caught:
        systems.load(path)
    assert hint in str(caught.value.hint)


@pytest.mark.parametrize(
    "text",
    ["", "- 1\n", "name: [1\n", "name: x\ncoordinates: inches\n", "name: x\nmodels: 3\n", "models: {}\n"],
)
def test_a_wrong_file_is_a_config_error(text: str, tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"x\.yaml"):
        systems.load(path)


def test_a_misspelt_system_gets_the_right_name() -> None:
    with pytest.raises(ConfigError, match="no system 'vric'") as caught:
        systems.get("vric")
    assert caught.value.hint == "did you mean 'virc'?"
