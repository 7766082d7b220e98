"""A run's checkpoints: which of them are whole, and what in them only resuming needs."""

import json
from pathlib import Path

import msgspec

from virc_recipes.errors import ConfigError
from virc_recipes.paths import contents
from virc_recipes.runs import Run

_MOST_BYTES = 2**28  # the trainer's state holds every step that was logged
_RESUME_STATE = (
    "optimizer.pt",
    "scheduler.pt",
    "scaler.pt",
    "rng_state*.pth",
    "global_step*",
    "latest",
    "zero_to_*.py",
)
_INCOMPLETE = "checkpoint-is-incomplete.txt"  # transformers' own mark, while it saves on a signal


class Checkpoint(msgspec.Struct, frozen=True):
    """Weights that an engine saved.

    Args:
        resumable: the optimizer's state is there too.
    """

    folder: Path
    step: int
    resumable: bool


def checkpoints(run: Run) -> list[Checkpoint]:
    """The run's whole checkpoints, the newest last; what a kill left half-written is none."""
    return [
        Checkpoint(folder, step, (folder / "scheduler.pt").is_file())
        for step, folder in sorted(folders(run).items())
        if whole(folder)
    ]


def folders(run: Run) -> dict[int, Path]:
    """Step -> folder of each checkpoint, also of one that is being saved or was left half-written."""
    named = {path.name.removeprefix("checkpoint-"): path for path in run.checkpoints.glob("checkpoint-*")}
    return {int(step): path for step, path in named.items() if step.isdecimal()}


def checkpoint(run: Run, step: str) -> Checkpoint:
    """The run's whole checkpoint of that step.

    Raises:
        ConfigError: there is none.
    """
    found = checkpoints(run)
    for each in found:
        if str(each.step) == step:
            return each
    steps = ", ".join(str(each.step) for each in found)
    raise ConfigError(
        f"{run.name} has no checkpoint of step {step[:20]!r}", f"there are {steps}" if found else None
    )


def whole(folder: Path) -> bool:
    """Whether a checkpoint holds weights, tokenizer and the trainer's state, which the engine writes last.

    It writes the image processor later still; that is the base's, and need not be there.
    """
    if (folder / _INCOMPLETE).exists():
        return False
    try:
        json.loads(contents(folder / "trainer_state.json", _MOST_BYTES))
    except (OSError, ValueError):
        return False
    if (folder / "adapter_model.safetensors").is_file():
        return (folder / "adapter_config.json").is_file()
    return (folder / "tokenizer_config.json").is_file() and _has_weights(folder)


def _has_weights(folder: Path) -> bool:
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        return (folder / "model.safetensors").is_file()
    try:
        parts = set(json.loads(contents(index, _MOST_BYTES))["weight_map"].values())
    except (OSError, ValueError, KeyError, AttributeError):
        return False
    return all((folder / part).is_file() for part in parts)


def resume_state(checkpoint: Checkpoint) -> list[Path]:
    """Files and folders of a checkpoint that only resuming needs; they are several times the weights."""
    return [path for pattern in _RESUME_STATE for path in checkpoint.folder.glob(pattern)]
