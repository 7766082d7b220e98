"""Checkpoints as LLaMA-Factory leaves them: which are whole, resumed and kept, by step; and attempts in order."""

import json
import os
from collections.abc import Callable
from itertools import product
from pathlib import Path
from zipfile import ZipFile

import msgspec
import pytest
from support.made import make, save

from virc.core.errors import ConfigError
from virc.core.files import write_json
from virc.runs import attempts
from virc.runs import run as runs
from virc.runs.attempts import Attempt
from virc.runs.checkpoint_formats import llamafactory, shards, verl
from virc.runs.checkpoints import Keeper, checkpoint, checkpoints, complete, remove, written
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


def test_attempt_10_follows_attempt_9_and_one_without_a_record_counts(run: Run) -> None:
    for number in (1, 2, 10, 9):
        run.attempt(number).mkdir(parents=True)
    attempts.write(run, Attempt(number=10, exit=1))
    assert [(each.number, each.exit) for each in attempts.attempts(run)] == [(1, None), (2, None), (9, None), (10, 1)]


def test_a_checkpoint_is_found_by_its_whole_step(run: Run) -> None:
    for step in (10, 100):
        save(run, step)
    assert checkpoint(run, "100").step == 100
    with pytest.raises(ConfigError, match="no checkpoint of step '1'"):
        checkpoint(run, "1")


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


def test_one_without_the_optimizers_state_is_not_resumed(run: Run) -> None:
    save(run, 10, resumable=False)
    save(run, 20)
    assert [each.resumable for each in checkpoints(run)] == [False, True]


def test_one_that_was_being_saved_is_looked_at_again(run: Run) -> None:
    keeper = Keeper(run)
    for step in (10, 20):
        save(run, step)
    state = save(run, 30) / "trainer_state.json"
    text = state.read_text()
    state.unlink()
    keeper.update({})
    state.write_text(text)
    keeper.update({})
    assert [(each.step, each.resumable) for each in checkpoints(run)] == [(10, False), (20, True), (30, True)]
    assert all((each.folder / "virc_protocol.json").exists() for each in checkpoints(run))


def test_a_validation_after_the_save_still_chooses_the_best(run: Run) -> None:
    keeper = Keeper(run)
    for step in (10, 20):
        save(run, step)
    for validated in ({}, {10: 0.9}, {10: 0.9, 20: 0.5}):
        keeper.update(validated)
    assert (runs.state(run).best, runs.state(run).best_validation) == (10, 0.9)
    keeper.update({10: 0.9, 20: 0.95})
    assert (runs.state(run).best, runs.state(run).best_validation) == (20, 0.95)
    keeper.update({10: 0.95, 20: 0.95})
    assert runs.state(run).best == 10, "the earlier of two that are as good"


def test_every_checkpoint_gets_the_chat_protocol_of_the_run_at_the_end(run: Run) -> None:
    newest = save(run, 10)
    (newest / "virc_protocol.json").write_text('{"cut')
    (base := run.workspace / "base").mkdir()
    (base / "processor_config.json").write_text("base")
    (newest / "processor_config.json").unlink()
    write_json(run.folder / "run.json", msgspec.structs.replace(runs.info(run), base=str(base)))
    complete(run)
    assert (newest / "virc_protocol.json").read_text() == "{}"
    assert (newest / "processor_config.json").read_text() == "base"


def test_an_empty_file_that_is_made_is_something_written(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    seen = [written([tmp_path / "a", tmp_path / "b"])]
    for make_one in ((tmp_path / "b" / "new").touch, lambda: (tmp_path / "b" / "new").write_text("x")):
        make_one()
        for path in (tmp_path / "b", tmp_path / "b" / "new"):
            os.utime(path, (0, 0))  # by the clock of another machine
        seen.append(written([tmp_path / "a", tmp_path / "b"]))
    assert len({*seen}) == 3


def test_of_a_link_the_link_alone_is_removed(tmp_path: Path) -> None:
    folder, link = tmp_path / "folder", tmp_path / "link"
    folder.mkdir()
    link.symlink_to(folder)
    remove([link, tmp_path / "gone"])
    assert (folder.is_dir(), link.is_symlink()) == (True, False)


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


def by_verl(place: Path, step: int) -> Path:
    """A checkpoint of two processes, as verl leaves it."""
    folder = place / f"global_step_{step}"
    (folder / "actor" / "huggingface").mkdir(parents=True)
    for name in ("config.json", "tokenizer.json"):
        (folder / "actor" / "huggingface" / name).write_text("{}")
    (folder / "actor" / "fsdp_config.json").write_text('{"world_size": 2}')
    for kind, rank in product(("model", "optim", "extra_state"), (0, 1)):
        ZipFile(folder / "actor" / f"{kind}_world_size_2_rank_{rank}.pt", "w").close()
    (folder / "data.pt").touch()
    return folder


def test_verl_goes_on_from_the_states_of_all_processes_and_of_the_rows(tmp_path: Path) -> None:
    folder = by_verl(tmp_path, 5)
    states = verl.resume_state(folder)
    ranks = [f"{kind}_world_size_2_rank_{rank}.pt" for kind in ("extra_state", "optim") for rank in (0, 1)]
    assert sorted(path.name for path in states) == ["data.pt", *ranks]
    assert verl.resumable(folder)
    for path in states:
        path.rename(tmp_path / "away")
        assert not verl.resumable(folder), path
        (tmp_path / "away").rename(path)
    for path in (folder / "actor").glob("model_*"):
        path.unlink()
    assert not verl.resumable(folder)


@pytest.mark.parametrize(
    ("note", "data", "whole"),
    [("10\n", (5, 10), [5, 10]), ("5", (5, 10), [5]), ("", (5, 10), [5, 10]), ("x", (5,), [5])],
)
def test_verl_had_ended_saving_what_it_notes_or_what_has_the_state_of_the_rows(
    note: str, data: tuple[int, ...], whole: list[int], tmp_path: Path
) -> None:
    folders = {step: by_verl(tmp_path, step) for step in (5, 10)}
    (tmp_path / "latest_checkpointed_iteration.txt").write_text(note)
    for step in {5, 10}.difference(data):
        (folders[step] / "data.pt").unlink()
    assert [step for step, folder in folders.items() if verl.whole(folder)] == whole
    (folders[5] / "actor" / "model_world_size_2_rank_1.pt").unlink()
    assert not verl.whole(folders[5])


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


def test_shards_without_their_settings_are_incomplete_and_their_step_is_any_number(tmp_path: Path) -> None:
    folder = by_verl(tmp_path, 1000)
    (tmp_path / "latest_checkpointed_iteration.txt").write_text("1000\n")
    assert (shards.newest(tmp_path), verl.whole(folder)) == (1000, True)
    (folder / "actor" / "fsdp_config.json").unlink()
    with pytest.raises(ConfigError, match=rf"^{folder}/actor is incomplete: fsdp_config\.json is missing$"):
        shards.read(folder / "actor")


def test_shards_are_in_the_order_of_their_processes() -> None:
    files = shards.Shards(Path(), 12).files
    assert [int(file.stem.rpartition("_")[2]) for file in files] == list(range(12))


def test_no_second_process_works_on_a_run_whatever_its_attempt(run: Run) -> None:
    with attempts.alone(run):
        run.attempt(2).mkdir(parents=True)
        with pytest.raises(ConfigError, match="another process trains or removes a") as caught, attempts.alone(run):
            pass
        assert caught.value.hint == "virc runs tail a"
    with attempts.alone(run):
        assert (run.folder / ".attempt.lock").exists()
    assert not (run.folder / ".attempt.lock").exists()
