"""A checkpoint as LLaMA-Factory's trainer leaves it: whether it is whole, what in it only resuming needs."""

import json
import shutil
from contextlib import suppress
from pathlib import Path

from virc.core.files import contents

RESUME = "resume"
"""Folder of the copy that the trainer can load, next to an attempt's files."""
# As `checkpoints.Format` documents them.
PREFIX, MERGED, KEEPS_ALL, SAVES_WHEN_ASKED = "checkpoint-", True, False, True

_MAX_BYTES = 2**28  # the trainer's state holds every step that was logged
_RESUME_STATE = "optimizer.pt scheduler.pt scaler.pt rng_state*.pth global_step* latest zero_to_*.py".split()
_INCOMPLETE = "checkpoint-is-incomplete.txt"  # transformers' own mark, while it saves on a signal
_PROCESSOR = ("processor_config.json", "preprocessor_config.json")


def whole(folder: Path) -> bool:
    """Whether a checkpoint holds weights, tokenizer and the trainer's state, which the engine writes last.

    It writes the image processor later still; that is the base's, and need not be there.
    """
    if (folder / _INCOMPLETE).exists():
        return False
    try:
        json.loads(contents(folder / "trainer_state.json", _MAX_BYTES))
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
        parts = set(json.loads(contents(index, _MAX_BYTES))["weight_map"].values())
    except (OSError, ValueError, KeyError, AttributeError):
        return False
    return all((folder / part).is_file() for part in parts)


def resumable(folder: Path) -> bool:
    return (folder / "scheduler.pt").is_file()


def resume_state(folder: Path) -> list[Path]:
    return [path for pattern in _RESUME_STATE for path in folder.glob(pattern)]


def complete(folder: Path, base: Path) -> None:
    """Add the base's image processor to weights that a kill left without one."""
    if any((folder / name).is_file() for name in _PROCESSOR):
        return
    for name in _PROCESSOR:
        if (base / name).is_file():
            shutil.copyfile(base / name, folder / name)


def spare(run: Path, last: int | None) -> list[Path]:
    """Second copies of weights, which an attempt that has ended leaves; that of step `last` next to the checkpoints."""
    found = list((run / "logs").glob(f"attempt_*/{RESUME}"))
    output = run / "checkpoints"
    with suppress(OSError, ValueError, KeyError):
        if last is not None and json.loads((output / "trainer_state.json").read_bytes())["global_step"] == last:
            found += [path for path in output.iterdir() if path.is_file()]
    return found
