"""`virc.training.train`, and what it leaves when it cannot begin."""

from pathlib import Path

import pytest

from virc.core.errors import DataError, UsageError
from virc.systems import registry as systems
from virc.training import train
from virc.training.estimate.fits import size_text
from virc.training.request import TrainRequest


def test_settings_are_a_mapping_whose_keys_may_be_dotted() -> None:
    settings = {"learning_rate": 1e-3, "reward.total": "outcome"}
    config = TrainRequest(system="tiny", stage="rl", settings=settings).resolve().config
    assert (config.learning_rate, config.reward.total) == (1e-3, "outcome")


def test_a_run_that_cannot_begin_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError):
        train("tiny", "instruct", folder=tmp_path, base="tiny")
    assert not (tmp_path / "runs").exists()


def test_a_stage_must_be_named() -> None:
    with pytest.raises(UsageError, match="no stage is named"):
        train(systems.DEFAULT)


@pytest.mark.parametrize(("gib", "text"), [(0.01, "10.2 MiB"), (0.5, "512 MiB"), (2, "2.0 GiB"), (140, "140 GiB")])
def test_sizes_below_a_gib_are_in_mib(gib: float, text: str) -> None:
    assert size_text(gib) == text
