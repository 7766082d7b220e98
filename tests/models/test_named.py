"""What models are called: in results, in hints, and where a new run or model asks for a name."""

from pathlib import Path

import pytest
from support.made import make, save

from virc.models import registry
from virc.models import registry as models
from virc.models.load import loaded_from
from virc.systems import registry as systems

VIRC = systems.get("virc")
SHORT, HUB = next((short, model.hub) for short, model in VIRC.models.items() if model.hub)


@pytest.mark.parametrize(("name", "run"), [("mine@10", "mine@10"), ("./runs/mine", "mine")])
def test_a_checkpoint_that_was_named_is_recorded_as_such(name: str, run: str, tmp_path: Path) -> None:
    folder = save(make(tmp_path, "mine"), 10)
    assert loaded_from(models.Weights(name, folder)).run == run
    assert loaded_from(models.Weights(name, tmp_path)).run is None
    assert loaded_from(models.Weights(name, tmp_path, adapter=folder)).run == run


def test_a_hint_names_the_system_where_it_is_called_otherwise(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(VIRC.file.read_text(encoding="utf-8"))
    other = systems.get(str(tmp_path / "mine.yaml"))
    assert models.download_of(HUB, VIRC) == f"virc download {SHORT}"
    assert models.download_of(HUB, other) == f"virc download {SHORT} --system {tmp_path / 'mine.yaml'}"
    assert models.download_of("org/another", other) == models.download_of("org/another", None) == (
        "virc download org/another"
    )  # fmt: skip


@pytest.mark.parametrize("system", ["virc"])
def test_a_name_of_any_system_is_taken(system: str | None, tmp_path: Path) -> None:
    known = systems.get(system) if system else None
    assert registry.meaning(SHORT, tmp_path, known) == f"{SHORT} is a model of the system virc"
    assert registry.meaning("tiny", tmp_path, known) == "tiny is a model of this package"
    assert registry.meaning("free", tmp_path, known) is None


@pytest.mark.parametrize(("source", "meaning"), [(None, "mine is a run"), ("mine@10", None)])
def test_only_the_newest_checkpoint_may_have_the_name_of_its_run(
    source: str | None, meaning: str | None, tmp_path: Path
) -> None:
    run = make(tmp_path, "mine")
    save(run, 9)
    save(run, 10)
    assert registry.meaning("mine", tmp_path, None, source) == meaning
