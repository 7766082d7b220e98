"""Checkpoints as LLaMA-Factory leaves them: which are whole, resumed and kept, by step; and attempts in order."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from support.made import make, save

from virc.core.errors import ConfigError
from virc.runs import attempts
from virc.runs.checkpoints import checkpoints
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


def test_no_second_process_works_on_a_run_whatever_its_attempt(run: Run) -> None:
    with attempts.alone(run):
        run.attempt(2).mkdir(parents=True)
        with pytest.raises(ConfigError, match="another process trains or removes a") as caught, attempts.alone(run):
            pass
        assert caught.value.hint == "virc runs tail a"
    with attempts.alone(run):
        assert (run.folder / ".attempt.lock").exists()
    assert not (run.folder / ".attempt.lock").exists()
