"""A checkpoint as verl leaves it, `global_step_N/`: the actor's shards, and next to them what resuming needs.

`shards.py` reads it. Whether saving ended verl notes next to the folders, in one file for all.
"""

from pathlib import Path

from virc.runs.checkpoint_formats import shards

# As `checkpoints.Format` documents them; verl would remove old checkpoints by age, the best one too.
PREFIX, MERGED, KEEPS_ALL, SAVES_WHEN_ASKED = "global_step_", False, True, False

_DATA = "data.pt"  # how far the order of rows has been gone through


def whole(folder: Path) -> bool:
    """Whether a checkpoint holds the weights of every process, and verl had ended saving it."""
    newest = shards.newest(folder.parent)
    if newest is None:  # a kill may leave verl's note of the last saved step empty; the data's state is saved before
        saved = (file.parent.name.removeprefix(PREFIX) for file in folder.parent.glob(f"{PREFIX}*/{_DATA}"))
        newest = max((int(step) for step in saved if step.isdecimal()), default=-1)
    step = folder.name.removeprefix(PREFIX)
    return step.isdecimal() and int(step) <= newest and shards.whole(folder / shards.ACTOR)


def resumable(folder: Path) -> bool:
    weights = sorted(path.name for path in (folder / shards.ACTOR).glob("model_world_size_*.pt"))
    states = [
        folder / shards.ACTOR / name.replace("model", kind, 1) for name in weights for kind in ("optim", "extra_state")
    ]
    return bool(states) and all(path.is_file() for path in (*states, folder / _DATA))


def resume_state(folder: Path) -> list[Path]:
    actor = folder / shards.ACTOR
    found = [path for kind in ("optim", "extra_state") for path in actor.glob(f"{kind}_world_size_*.pt")]
    return [*found, *folder.glob(_DATA)]


def complete(folder: Path, base: Path) -> None:
    """Nothing is left out of a whole checkpoint: verl writes config, tokenizer and processor before the shards."""


def spare(run: Path, last: int | None) -> list[Path]:
    """Nothing is there twice."""
    return []
