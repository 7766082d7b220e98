"""A checkpoint in shards, as verl 0.9.1 writes its actor under FSDP (its `fsdp_checkpoint_manager.py`).

latest_checkpointed_iteration.txt            next to the checkpoints: the step whose saving ended last
CHECKPOINT/actor/fsdp_config.json            W, the number of processes
CHECKPOINT/actor/model_world_size_W_rank_R.pt   the shards of process R, a torch archive
CHECKPOINT/actor/lora_train_meta.json        rank and alpha, where an adapter was trained
CHECKPOINT/actor/huggingface/                config, tokenizer and image processor
"""

import re
import zipfile
from pathlib import Path
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta

from virc.core.errors import ConfigError, errors_as
from virc.core.files import contents, is_file, is_path, read_json

ACTOR = "actor"
TEXTS = "huggingface"
SETTINGS = "fsdp_config.json"
ADAPTER = "lora_train_meta.json"
TRACKER = "latest_checkpointed_iteration.txt"

_MAX_BYTES = 2**20

Kind = TypeVar("Kind")


class _World(msgspec.Struct, frozen=True):
    world_size: Annotated[int, Meta(ge=1, le=65_536)]


class Adapter(msgspec.Struct, frozen=True):
    """A LoRA adapter that was trained: its updates are scaled by alpha / rank."""

    rank: Annotated[int, Meta(ge=1, le=4096)] = msgspec.field(name="r")
    alpha: Annotated[float, Meta(gt=0)] = msgspec.field(name="lora_alpha")


class Shards(msgspec.Struct, frozen=True):
    """A whole checkpoint in shards, which `world_size` processes saved."""

    folder: Path
    world_size: int
    adapter: Adapter | None = None

    @property
    def texts(self) -> Path:
        """Folder of config, tokenizer and image processor."""
        return self.folder / TEXTS

    @property
    def files(self) -> list[Path]:
        """One file for each process, in the order of their ranks."""
        world = self.world_size
        return [self.folder / f"model_world_size_{world}_rank_{rank}.pt" for rank in range(world)]


def actor_of(checkpoint: Path) -> Path | None:
    """The folder of shards that a checkpoint's folder is or holds; None where it is no such checkpoint."""
    for folder in (checkpoint, checkpoint / ACTOR):
        if is_file(folder / SETTINGS) or any(folder.glob("model_world_size_*_rank_*.pt")):
            return folder
    return None


def read_shards(folder: Path) -> Shards:
    """The contents of an actor's folder; no tensor is read. Raises ConfigError: it is incomplete, or a file is cut."""
    world = _decoded(folder / SETTINGS, _World).world_size
    adapter = _decoded(folder / ADAPTER, Adapter) if is_file(folder / ADAPTER) else None
    found = Shards(folder, world, adapter)
    missing = [file.name for file in found.files if not is_file(file)]
    if missing:
        others = sorted(path.name for path in folder.glob("model_world_size_*_rank_*.pt"))
        saved = f"the shards of {len(missing)} of {world} processes are missing, {missing[0]} first"
        there = f"there are {', '.join(others)[:200]}" if others else None
        raise ConfigError(f"{folder} is incomplete: {saved}", there)
    for file in found.files:
        damaged = (OSError, zipfile.BadZipFile, ValueError, NotImplementedError)
        with errors_as(ConfigError, f"{file} is cut or damaged", caught=damaged), zipfile.ZipFile(file):
            pass  # a torch archive is a zip, with its table of contents at the end
    for name in ("config.json", "tokenizer.json"):
        if not is_file(found.texts / name):
            raise ConfigError(f"{folder} is incomplete: {TEXTS}/{name} is missing")
    return found


def whole(folder: Path) -> bool:
    try:
        read_shards(folder)
    except ConfigError:
        return False
    return True


def newest(checkpoints: Path) -> int | None:
    """The step whose saving ended last, as verl notes it next to its checkpoints; None if it did not."""
    try:
        text = contents(checkpoints / TRACKER, 64).decode("ascii", "replace").strip()
    except OSError:
        return None
    return int(text) if re.fullmatch(r"\d{1,12}", text) else None


def _decoded(file: Path, kind: type[Kind]) -> Kind:
    if not is_path(file):
        raise ConfigError(f"{file.parent} is incomplete: {file.name} is missing")
    return read_json(file, kind, _MAX_BYTES)
