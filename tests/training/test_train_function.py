"""`virc.training.train`, and what it leaves when it cannot begin."""

from pathlib import Path

import pytest
from support.made import make

from virc.core.errors import DataError, UsageError
from virc.runs import run as runs
from virc.systems import registry as systems
from virc.training import api, train
from virc.training.estimate.fits import size_text
from virc.training.request import TrainRequest


def test_settings_are_a_mapping_whose_keys_may_be_dotted() -> None:
    settings = {"learning_rate": 1e-3, "reward.total": "outcome"}
    config = TrainRequest(system="tiny", stage="rl", settings=settings).resolve().config
    assert (config.learning_rate, config.reward.total) == (1e-3, "outcome")


def test_a_precision_may_be_called_as_torch_calls_it() -> None:
    request = TrainRequest(system="tiny", stage="rl", assignments=("precision=bfloat16",))
    assert request.resolve().config.precision == "bf16"


@pytest.mark.parametrize("key", ["chat_protocol.first", "tools"])
def test_a_key_of_the_system_is_no_setting(key: str) -> None:
    with pytest.raises(UsageError, match="is a key of the system, not a setting") as raised:
        TrainRequest(system="tiny", stage="instruct", assignments=(f"{key}=x",)).resolve()
    assert "virc systems cp tiny mine.yaml" in str(raised.value.hint)


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


def test_the_newest_run_of_the_stage_that_has_not_finished_is_resumed(tmp_path: Path) -> None:
    stopped = (("old", "tiny", "stopped"), ("new", "tiny", "failed"))
    others = (("done", "tiny", "finished"), ("other", "virc", "stopped"))
    for day, (name, system, progress) in enumerate((*stopped, *others), 1):
        run = make(tmp_path, name, created=f"2026-01-0{day}T00:00:00+00:00", system=system)
        runs.write_state(run, progress=progress)
    assert api._to_resume("tiny", "instruct", None, tmp_path).name == "new"


def test_a_run_whose_process_is_gone_can_be_resumed(tmp_path: Path) -> None:
    run = make(tmp_path, "a")
    runs.write_state(run, progress="running", **{**runs.this_process(), "started": 1})
    assert api._to_resume("tiny", "instruct", None, tmp_path) == run


@pytest.mark.parametrize(
    ("system", "stage", "following"),
    [
        ("tiny", "instruct", "virc train tiny --stage practice --from mine"),
        ("tiny", "practice", "virc train tiny --stage dpo --from mine"),
        (systems.DEFAULT, "instruct", "virc train --stage practice --from mine"),
        ("tiny", "rl", None),
        ("gone", "instruct", None),
    ],
)
def test_after_a_run_the_next_stage_is_named(system: str, stage: str, following: str | None, tmp_path: Path) -> None:
    run = make(tmp_path, "mine", system=system, stage=stage)
    solves = "virc solve --model mine IMAGE 'QUESTION'"
    assert api.next_commands(run) == [*filter(None, [following]), solves]


def test_a_base_that_is_named_takes_the_place_of_the_stage_before() -> None:
    config = TrainRequest(system="tiny", stage="practice", base="mine").resolve().config
    assert (config.base, config.after) == ("mine", None)
