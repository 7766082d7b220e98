"""Checkpoints as LLaMA-Factory leaves them: which are whole, resumed and kept, by step; and attempts in order."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from support.made import make, save

from virc.core.errors import ConfigError
from virc.runs import attempts
from virc.runs.checkpoint_formats import llamafactory
from virc.runs.checkpoints import checkpoints, remove
from virc.runs.run import Run


@pytest.fixture
def run(workspace: Path) -> Run:
    run = make(workspace, "a")
    (run.folder / "virc_protocol.json").write_text("{}")
    return run


def test_step_1000_is_newer_than_step_900(run: Run) -> None:
    for step in (1000, 900, 1100):
        save(run, step)
    (run.checkpoints / "checkpoint-of-mine").mkdir()
    assert [each.step for each in checkpoints(run)] == [900, 1000, 1100]


def weights_in_parts(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    parts = {"a": "model-1.safetensors", "b": "model-2.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": parts}))
    (folder / "model-1.safetensors").touch()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda folder: (folder / "trainer_state.json").write_text('{"global_step": '),
        lambda folder: (folder / "trainer_state.json").unlink(),
        lambda folder: (folder / "checkpoint-is-incomplete.txt").touch(),
        lambda folder: (folder / "model.safetensors").unlink(),
        lambda folder: (folder / "tokenizer_config.json").unlink(),
        lambda folder: (folder / "adapter_model.safetensors").touch(),  # without its settings
        weights_in_parts,
        lambda folder: (folder / "model.safetensors.index.json").write_text('{"weight_map": []}'),
    ],
)
def test_a_checkpoint_that_lacks_something_is_none(run: Run, spoil: Callable[[Path], None]) -> None:
    save(run, 10)
    spoil(save(run, 20))
    assert [each.step for each in checkpoints(run)] == [10]


def test_a_kills_missing_processor_is_the_bases_and_one_that_is_there_stays(run: Run, tmp_path: Path) -> None:
    for name in llamafactory._PROCESSOR:
        (tmp_path / name).write_text("base")
    lacking, whole = save(run, 10), save(run, 20)
    (lacking / "processor_config.json").unlink()
    for each in (lacking, whole):
        llamafactory.complete(each, tmp_path)
    assert (lacking / "processor_config.json").read_text() == "base"
    assert (whole / "processor_config.json").read_text() == "{}"
    assert not (whole / "preprocessor_config.json").exists()
    (tmp_path / "preprocessor_config.json").unlink()  # a base has one of the two
    (lacking / "preprocessor_config.json").unlink()
    (lacking / "processor_config.json").unlink()
    llamafactory.complete(lacking, tmp_path)
    assert [(lacking / name).exists() for name in llamafactory._PROCESSOR] == [True, False]


def test_only_resuming_needs_the_trainers_states_and_an_ended_attempt_no_second_weights(run: Run) -> None:
    folder = save(run, 20)
    kept = {path.name for path in folder.iterdir()} - {"scheduler.pt"}
    states = {
        "optimizer.pt",
        "scheduler.pt",
        "scaler.pt",
        "rng_state.pth",
        "rng_state_1.pth",
        "latest",
        "zero_to_fp32.py",
    }
    for name in states:
        (folder / name).touch()
    (folder / "global_step20").mkdir()
    remove(llamafactory.resume_state(folder))
    assert {path.name for path in folder.iterdir()} == kept
    resume = run.attempt(2) / "resume"
    resume.mkdir(parents=True)
    (run.checkpoints / "trainer_state.json").write_text('{"global_step": 20}')
    (run.checkpoints / "model.safetensors").touch()
    beside = [run.checkpoints / "model.safetensors", run.checkpoints / "trainer_state.json"]
    for last, found in ((20, [*beside, resume]), (10, [resume]), (None, [resume])):
        assert sorted(llamafactory.spare(run.folder, last)) == found


def test_no_second_process_works_on_a_run_whatever_its_attempt(run: Run) -> None:
    with attempts.alone(run):
        run.attempt(2).mkdir(parents=True)
        with pytest.raises(ConfigError, match="another process trains or removes a") as caught, attempts.alone(run):
            pass
        assert caught.value.hint == "virc runs tail a"
    with attempts.alone(run):
        assert (run.folder / ".attempt.lock").exists()
    assert not (run.folder / ".attempt.lock").exists()
