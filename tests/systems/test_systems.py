"""Systems are YAML files, found by being there; a key nobody reads is an error."""

import re
from pathlib import Path

import pytest
from support.tables import cases_of

from virc.core.errors import ConfigError
from virc.systems import files
from virc.systems import registry as systems

CASES = cases_of(__file__)

FOLDER = Path(systems.__file__).parent


def written(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_the_released_models_have_their_hub_ids_and_coordinates() -> None:
    models = systems.get("virc").models
    assert {name: model.hub for name, model in models.items()} == {name: f"LeonMiao/{name}" for name in models}
    of_permille = {name for name, model in models.items() if model.coordinates == "permille"}
    assert of_permille == {"ViRC-Qwen2VL-7B", "ViRC-Qwen2VL-2B"}


def test_a_system_whose_extra_is_not_installed_is_refused_by_its_name(tmp_path: Path) -> None:
    file = written(tmp_path / "mine.yaml", "name: mine\nneeds: [sonar]\n")
    with pytest.raises(ConfigError, match="the extra sonar, which the system mine needs, is not installed"):
        systems.get(str(file))


def test_short_names_stand_for_one_model_of_one_system() -> None:
    names = [name for system in systems.discover().values() for name in system.models]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(("text", "message", "hint"), CASES["a_wrong_key_is_named_with_its_line_and_the_nearest_one"])
def test_a_wrong_key_is_named_with_its_line_and_the_nearest_one(
    text: str, message: str, hint: str | None, tmp_path: Path
) -> None:
    path = written(tmp_path / "x.yaml", text)
    with pytest.raises(ConfigError) as caught:
        systems.load(path)
    assert caught.value.message.startswith(f"{path}:{message}")
    assert hint is None or caught.value.hint == hint


@pytest.mark.parametrize(("text", "said"), CASES["fields_that_do_not_fit_one_another_are_refused"])
def test_fields_that_do_not_fit_one_another_are_refused(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)):
        systems.load(written(tmp_path / "x.yaml", f"name: x\n{text}\n"))


@pytest.mark.parametrize(
    "text",
    [
        "- 1\n",
        "name: [1\n",
        "name: &a x\nmodels: *a\n",
        "name: x\nmodels: " + "{a: " * 20 + "\n",
        "# " + "x" * 70_000,
        "name: !!python/object/apply:os.system [true]\n",
        "name: x\nname: y\n",
        "name: x\nstages: {on: {kind: sft}}\n",
    ],
)
def test_hostile_text_is_one_sentence_that_names_the_file(text: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"x\.yaml"):
        systems.load(written(tmp_path / "x.yaml", text))


def test_a_system_is_named_by_its_path_wherever_it_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path / "a" / "x.yaml", "name: x\nmodels: {m: {folder: ./w}}\n")
    monkeypatch.chdir(tmp_path / "a")
    system = systems.load(Path("x.yaml"))
    assert (system.models["m"].folder, system.file) == (str(tmp_path / "a" / "w"), tmp_path / "a" / "x.yaml")
    with pytest.raises(ConfigError, match="there is no file a/x"):
        systems.get("a/x")
    (tmp_path / "link.yaml").symlink_to(tmp_path / "gone")
    with pytest.raises(ConfigError, match=r"there is a file .*link\.yaml already"):
        files.write(tmp_path / "link.yaml", "name: y\n")
    assert not (tmp_path / "gone").exists()


def test_systems_of_the_folders_of_the_search_path_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path / "one" / "a.yaml", "name: mine\n")
    written(tmp_path / "two" / "b.yml", "name: yours\n")
    written(tmp_path / "two" / "notes.txt", "no system\n")
    for name in ("z", "m", "c"):  # found in the order of their files
        written(tmp_path / "two" / f"{name}.yaml", f"name: {name}-{name}\n")
    monkeypatch.setenv("VIRC_PATH", f"{tmp_path / 'one'}:{tmp_path / 'two'}:")
    assert [*systems.discover()][-5:] == ["mine", "yours", "c-c", "m-m", "z-z"]
    assert systems.get("yours").file == tmp_path / "two" / "b.yml"


def test_a_name_is_taken_over_only_on_purpose(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = written(tmp_path / "one" / "virc.yaml", "name: virc\nabout: mine\n")
    monkeypatch.setenv("VIRC_PATH", str(tmp_path / "one"))
    with pytest.raises(ConfigError, match=f"{re.escape(str(file))} names its system 'virc', as ") as caught:
        systems.get("virc")
    assert "replace: true" in str(caught.value.hint)
    assert systems.get("tiny").name == "tiny"
    written(tmp_path / "two" / "virc.yaml", "name: virc\nabout: mine\nreplace: true\n")
    monkeypatch.setenv("VIRC_PATH", str(tmp_path / "two"))
    assert systems.get("virc").about == "mine"


def test_a_system_may_be_named_by_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path / "mine.yaml", "name: other\n")
    monkeypatch.chdir(tmp_path)
    for name in ("mine.yaml", "./mine.yaml", str(tmp_path / "mine.yaml")):
        assert (systems.get(name).name, systems.get(name).file) == ("other", tmp_path / "mine.yaml")
    with pytest.raises(ConfigError) as bare:
        systems.get("mine")
    assert bare.value.hint == "a file is named by its path: ./mine.yaml"
    (tmp_path / "mine.yaml").rename(tmp_path / "mine.yml")
    with pytest.raises(ConfigError) as bare:
        systems.get("mine")
    assert bare.value.hint == "a file is named by its path: ./mine.yml"
    for name in ("./mine", "gone.yaml", "./", "a\0.yaml", "/"):
        with pytest.raises(ConfigError, match="there is no file"):
            systems.get(name)


def test_a_system_may_have_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path / "mine" / "system.yaml", "# of tests\nname: mine\n")
    written(tmp_path / "quoted" / "system.yaml", 'name: "quoted"\n')
    written(tmp_path / "mine" / "judge.yaml", "text: no system\n")
    monkeypatch.setenv("VIRC_PATH", str(tmp_path))
    assert {"mine", "quoted"} < systems.discover().keys()
    assert systems.get("mine").is_own
    written(tmp_path / "other" / "system.yaml", "name: virc\n")
    systems._discovered.cache_clear()
    with pytest.raises(ConfigError, match="names its system 'virc', as"):
        systems.get("virc")


def test_paths_are_counted_from_the_file_wherever_one_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = """
name: mine
models: {a: {folder: weights}, b: {folder: /weights}, c: {hub: ./x}}
judges: {j: {folder: weights}}
reward: {judge: {questions: asked.yaml}}
everywhere: {engine: {x: ../y}}
stages:
  one:
    kind: sft
    settings: {base: ./weights, data: CRUX/rows}
    published: {media_dir: ./data}
overlays:
  o: {about: ./x, settings: {data: ./rows.json}, stages: {one: {base: ./weights}}}
"""
    written(tmp_path / "folder" / "mine.yaml", text)
    monkeypatch.chdir(tmp_path)
    found = systems.get("folder/mine.yaml")
    assert [model.folder for model in found.models.values()] == [f"{tmp_path}/folder/weights", "/weights", None]
    assert found.judges["j"].folder == f"{tmp_path}/folder/weights"
    assert found.reward
    assert found.reward.judge.questions == f"{tmp_path}/folder/asked.yaml"
    assert found.everywhere == {"engine": {"x": f"{tmp_path}/folder/../y"}}
    assert found.stages["one"].settings == {"base": f"{tmp_path}/folder/weights", "data": "CRUX/rows"}
    assert found.stages["one"].published == {"media_dir": "./data"}
    assert found.overlays["o"].settings == {"data": f"{tmp_path}/folder/rows.json"}
    assert (found.overlays["o"].about, found.overlays["o"].stages) == (
        "./x",
        {"one": {"base": f"{tmp_path}/folder/weights"}},
    )
