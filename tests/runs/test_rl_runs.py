"""Runs of RL in the commands that show runs, and their checkpoints in shards."""

import json
import zipfile
from pathlib import Path

import msgspec
import pytest
from support.made import add, make
from test_health import step

from virc.models.registry import EMBEDDED_FOLDER
from virc.runs import run as runs
from virc.runs.checkpoints import Keeper, checkpoints, remove_partial
from virc.runs.run import Run
from virc.stages import rl
from virc.training import inputs as training


def made(workspace: Path, **settings: object) -> Run:
    given = msgspec.to_builtins(rl.Config(data="rows")) | settings
    run = make(workspace, "a", kind="rl", settings=given, origins={})
    (run.folder / "virc_protocol.json").write_text('{"system": "trained"}')
    return run


def save(run: Run, number: int, ended: bool = True, world: int = 2) -> Path:
    """A checkpoint as verl leaves it."""
    folder = run.checkpoints / f"global_step_{number}"
    actor = folder / "actor"
    (actor / "huggingface").mkdir(parents=True)
    for name in ("config.json", "tokenizer.json"):
        (actor / "huggingface" / name).write_text("{}")
    (actor / "fsdp_config.json").write_text(json.dumps({"FSDP_version": 2, "world_size": world}))
    for rank in range(world):
        with zipfile.ZipFile(actor / f"model_world_size_{world}_rank_{rank}.pt", "w") as archive:
            archive.writestr("data", bytes(100))
        for kind in ("optim", "extra_state"):
            (actor / f"{kind}_world_size_{world}_rank_{rank}.pt").write_bytes(bytes(100))
    (folder / "data.pt").write_bytes(bytes(10))
    if ended:
        (run.checkpoints / "latest_checkpointed_iteration.txt").write_text(str(number))
    return folder


def saved(run: Run) -> list[tuple[int, bool]]:
    return [(each.step, each.resumable) for each in checkpoints(run)]


@pytest.mark.parametrize(("saved_at", "tried", "untried"), [(20, 20, False), (20, 10, True)])
def test_a_step_is_validated_where_a_run_goes_on_if_that_was_due_and_never_done(
    workspace: Path, saved_at: int, tried: int | None, untried: bool
) -> None:
    run = made(workspace, test_freq=10)
    info = msgspec.structs.replace(runs.info(run), base=str(EMBEDDED_FOLDER))
    add(run, *(step(at, validation=0.5 if at == tried else None) for at in (10, 20, 25)))
    assert training.place_of(info, run, 1).untried
    save(run, saved_at)
    assert training.place_of(info, run, 2).untried is untried


@pytest.mark.parametrize("noted", ["", None])
def test_checkpoints_outlive_a_note_that_a_kill_left_empty(workspace: Path, noted: str | None) -> None:
    run = made(workspace)
    for number in (10, 20):
        save(run, number)
    (save(run, 30, ended=False) / "data.pt").unlink()
    tracker = run.checkpoints / "latest_checkpointed_iteration.txt"
    tracker.unlink() if noted is None else tracker.write_text(noted)
    remove_partial(run)
    assert saved(run) == [(10, True), (20, True)]


@pytest.mark.parametrize(
    "lost", ["actor/model_world_size_2_rank_1.pt", "actor/fsdp_config.json", "actor/huggingface/config.json"]
)
def test_one_without_its_weights_is_none(workspace: Path, lost: str) -> None:
    run = made(workspace)
    (save(run, 10) / lost).unlink()
    assert saved(run) == []


@pytest.mark.parametrize(
    "lost", ["data.pt", "actor/optim_world_size_2_rank_1.pt", "actor/extra_state_world_size_2_rank_0.pt"]
)
def test_one_without_all_of_its_resume_state_is_not_resumed(workspace: Path, lost: str) -> None:
    run = made(workspace)
    (save(run, 10) / lost).unlink()
    assert saved(run) == [(10, False)]


def test_keep_forgets_older_ones_but_for_the_best(workspace: Path) -> None:
    run = made(workspace, save_total_limit=1)
    keeper = Keeper(run)
    tried = {}
    for number, reward in ((10, 0.4), (20, 0.6), (30, 0.5), (40, 0.6)):
        save(run, number)
        tried[number] = reward
        keeper.update(tried)
    assert saved(run) == [(20, False), (40, True)]
    assert (runs.state(run).best, runs.state(run).best_validation) == (20, 0.6)
    keeper.update({**tried, 15: 0.9})  # nothing was saved then
    assert runs.state(run).best == 20
