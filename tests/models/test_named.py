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


@pytest.mark.parametrize(("source", "meaning"), [(None, "mine is a run"), ("mine@10", None)])
def test_only_the_newest_checkpoint_may_have_the_name_of_its_run(
    source: str | None, meaning: str | None, tmp_path: Path
) -> None:
    run = make(tmp_path, "mine")
    save(run, 9)
    save(run, 10)
    assert registry.meaning("mine", tmp_path, None, source) == meaning
