"""Runs of RL in the commands that show runs, and their checkpoints in shards."""

import json
import zipfile
from pathlib import Path

import msgspec
import pytest
from support.called import virc
from support.made import add, make
from test_health import step

from virc.models.registry import EMBEDDED_FOLDER
from virc.runs import plots as courses
from virc.runs import run as runs
from virc.runs.checkpoints import Keeper, checkpoints, remove_partial
from virc.runs.run import Run
from virc.stages import rl
from virc.training import health
from virc.training import inputs as training
from virc.training.health import Note


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


def test_a_checkpoint_is_whole_once_verl_has_noted_it(workspace: Path) -> None:
    run = made(workspace)
    save(run, 10)
    cut = save(run, 20, ended=False)
    assert saved(run) == [(10, True)]
    remove_partial(run)
    assert not cut.exists()


@pytest.mark.parametrize(
    ("saved_at", "tried", "untried"), [(20, 20, False), (20, 10, True), (20, None, True), (25, 20, False)]
)
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


def test_the_first_checkpoint_is_none_before_all_of_it_is_saved(workspace: Path) -> None:
    run = made(workspace)
    (save(run, 10, ended=False) / "data.pt").unlink()
    assert saved(run) == []


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


def test_resume_state_stays_with_the_newest_two_and_weights_with_all(workspace: Path) -> None:
    run = made(workspace)
    for number in (10, 20, 30):
        save(run, number)
    Keeper(run).update({})
    assert saved(run) == [(10, False), (20, True), (30, True)]
    assert {each.folder / "virc_protocol.json" for each in checkpoints(run)} == set(
        run.checkpoints.glob("*/virc_protocol.json")
    )


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


def test_show_says_the_best_what_is_amiss_and_where_rollouts_are(workspace: Path) -> None:
    run = made(workspace)
    add(run, *(step(number, total=40, turns=3.0, entropy=0.3) for number in range(1, 21)))
    for number in (10, 20):
        save(run, number)
    runs.write_state(run, progress="stopped", step=20, total=40, reward=0.5, best=10, best_validation=0.61)
    health.write(run, [Note(7, "length", True, "25% of replies are cut"), Note(9, "tools", True, "few")])
    health.write(run, [Note(11, "tools", False, "")])
    for number in (2, 10):
        (run.rollouts / f"step_{number}" / "1-1").mkdir(parents=True)
    out = virc("runs", "show", "a").out
    assert "20/40, reward 0.5" in out
    lines = [line.split() for line in out.splitlines()]
    first = next(line for line in lines if line[0].endswith("global_step_10"))
    assert " ".join(first[3:]) == "can be resumed, best on the validation rows, 0.61, virc merge a@10"
    second = next(line for line in lines if line[0].endswith("global_step_20"))
    assert " ".join(second[3:]) == "can be resumed, virc merge a@20"
    assert "step 20/40 reward 0.5 length 100 turns 3 entropy 0.3".split() in lines
    assert "length 25% of replies are cut".split() in lines
    assert not any(line[0] == "tools" for line in lines)
    shown = [line[0] for line in lines if "rollouts" in line[0]]
    assert [Path(path).parts[-3] for path in shown if path.endswith("html")] == ["step_2", "step_10"]
    said = json.loads(virc("runs", "show", "a", "--json").out)
    assert [each["best"] for each in said["checkpoints"]] == [True, False]
    assert [note["sign"] for note in said["health"]] == ["length", "tools", "tools"]
    assert said["rollouts"] == [str(run.rollouts / "step_2"), str(run.rollouts / "step_10")]


def test_ls_has_a_column_of_rewards_where_a_run_has_one(workspace: Path) -> None:
    make(workspace, "b", 3)
    assert "reward" not in virc("runs", "ls").out
    runs.write_state(made(workspace), progress="stopped", step=20, total=40, reward=0.512345)
    head, *rows = (line.split() for line in virc("runs", "ls").out.splitlines())
    assert head[:5] == ["name", "state", "step", "loss", "reward"]
    assert ["a", "stopped", "20/40", "-", "0.5123"] in [row[:5] for row in rows]
    assert ["b", "finished", "3/3", "0.3333", "-"] in [row[:5] for row in rows]


def test_a_reward_that_is_no_number_is_said(workspace: Path) -> None:
    run = made(workspace)
    add(run, step(1, reward=None))
    assert "reward nan" in virc("runs", "show", "a").out


@pytest.mark.integration
def test_terms_are_drawn_with_the_reward_and_parts_with_one_another(workspace: Path) -> None:
    run = made(workspace)
    for number in (1, 2):
        terms, parts = {"format": 1.0, "answer": 0.4}, {"rollout": 3.0, "update": 1.0}
        add(run, step(number, terms=terms, parts=parts, response_length_max=200.0))
    found = {panel.title: list(panel.names) for panel in courses.panels([courses.read(run)])}
    assert found["reward"] == ["reward", "terms.answer", "terms.format"]
    assert found["seconds of a step"] == ["parts.rollout", "parts.update"]
    assert found["tokens of a reply"] == ["response_length", "response_length_max"]
    assert next(iter(found)) == "reward"
    done = virc("runs", "plot", "a")
    assert (done.code, done.err) == (0, "")
