"""Merges a checkpoint in shards: `python -m virc.engines.verl.merge ACTOR FOLDER`, in verl's environment.

verl's own merger (`verl.model_merger`) unpickles whatever a file holds, and what is unpickled may run code. This one
takes tensors, and what says how they are spread, from every file alike, be it of a run of this machine or not. The
weights it writes are verl's to the byte, a test compares; what an adapter adds, which verl leaves separate, is in them.
"""

import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.distributed.tensor import DTensor, Replicate, Shard
from torch.serialization import get_unsafe_globals_in_checkpoint
from transformers import AutoConfig, AutoModelForImageTextToText
from transformers.conversion_mapping import get_model_conversion_mapping

from virc.core.errors import ConfigError, VircError, errors_as
from virc.core.text import clause, plain
from virc.engines.merge import common as merging
from virc.families import registry as families
from virc.runs.checkpoint_formats import shards
from virc.runs.checkpoint_formats.shards import Shards

_PREFIX = "base_model.model."  # of PEFT, which wraps the network
_A, _B = ".lora_A.default.weight", ".lora_B.default.weight"

_REPORT_EVERY = 50

State = Mapping[str, Any]
"""The weights that one process saved: name -> tensor, a DTensor if the weight is sharded."""


def merge(words: Sequence[str]) -> int:
    """Merge an actor's folder into a model's; returns how many numbers the model holds."""
    actor, folder = map(Path, words)
    found = shards.read_shards(actor)
    network = empty(found.texts)
    merging.check_room(merging.size_of(network), folder)
    states = [_loaded(file) for file in found.files]
    weights = joined(states, network, found)
    _check_tied(weights, network, actor)
    network.load_state_dict(weights, strict=True, assign=True)
    network.tie_weights()
    family = families.of(network.config.model_type)
    if family.is_renamed:  # as it was not loaded, transformers would keep its own names
        network._weight_conversions = get_model_conversion_mapping(network, add_legacy=False)
    elif network.config.model_type in family.joined:
        network._weight_conversions = []
    return merging.save(network, folder)


def empty(folder: Path) -> Any:
    """The network that a config describes, in bfloat16 and without storage."""
    automatic: Any = AutoModelForImageTextToText
    # configs are wrong in as many ways as there are keys
    with errors_as(ConfigError, f"{folder / 'config.json'} describes no network", caught=Exception):
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        with torch.device("meta"):
            network = automatic.from_config(config, dtype=torch.bfloat16, trust_remote_code=False)
    network.tie_weights()
    return network


def joined(states: Sequence[State], network: Any, found: Shards) -> dict[str, torch.Tensor]:
    """Every weight of a network in bfloat16, joined from what the processes saved, in the order of their ranks.

    Raises:
        ConfigError: weights are missing, unknown, of another shape, or differ between processes that have copies.
    """
    left = set(states[0])
    if any(set(state) != left for state in states):
        raise ConfigError(f"{found.folder} contradicts itself: its processes saved different weights")
    twins = {name: group for group in merging.tied(network) for name in group}
    weights: dict[str, torch.Tensor] = {}
    wanted = network.state_dict()
    for number, (name, like) in enumerate(wanted.items()):
        if number % _REPORT_EVERY == 0:
            merging.tell(f"{number} of {len(wanted)} weights")
        saved = _saved(name, left)
        if saved is not None:
            left.discard(saved)
            weight = _adapted(saved, states, like.shape, found, left)
            weights[name] = weight.bfloat16() if weight.is_floating_point() else weight
        elif not any(_saved(twin, states[0]) for twin in twins.get(name, ())):
            raise ConfigError(f"{found.folder} is incomplete: it has no {name}")
    if left:
        raise ConfigError(f"{found.folder} does not belong to its config, which has no {plain(min(left), 100)}")
    for name, group in twins.items():  # saved under one of its names only
        weights.setdefault(name, next(weights[twin] for twin in group if twin in weights))
    return weights


def whole(saved: str, states: Sequence[State], shape: Sequence[int], found: Shards) -> torch.Tensor:
    """One weight, joined from what each process saved of it; its shape is checked before anything is allocated.

    Raises:
        ConfigError: it is of another shape, spread in a way that FSDP does not spread, or differs between processes
            that should hold the same.
    """
    pieces = [state[saved] for state in states]
    if not all(isinstance(piece, torch.Tensor) for piece in pieces):
        raise ConfigError(f"{found.folder} holds something else than a tensor as {plain(saved, 100)}")
    where = _spread(pieces[0])
    if where is None:
        raise ConfigError(f"{found.folder} is not of FSDP alone: {plain(saved, 100)} is spread otherwise")
    dim, ranks = where
    if any(rank >= len(pieces) for rank in ranks):
        raise ConfigError(f"{found.folder} contradicts itself: {plain(saved, 100)} has shards of more processes")
    local = [piece.to_local() if isinstance(piece, DTensor) else piece for piece in pieces]
    chosen = [local[rank] for rank in ranks]
    if not _fit(chosen, dim, shape):
        raise ConfigError(f"{found.folder} does not belong to its config: {plain(saved, 100)} is of another size")
    if dim is not None:
        return torch.cat(chosen, dim)
    if not all(merging.same(piece, local[0]) for piece in local[1:]):
        raise ConfigError(f"{found.folder} contradicts itself: its processes differ in {plain(saved, 100)}")
    return local[0]


def _spread(piece: torch.Tensor) -> tuple[int | None, list[int]] | None:
    """The dimension a weight is cut along (None: it is whole everywhere), and the ranks of its pieces in order.

    None: it is cut along several, or not by FSDP. Of a mesh that repeats the shards (HSDP), the first row is taken.
    """
    if not isinstance(piece, DTensor):
        return None, [0]
    axes = [axis for axis, placement in enumerate(piece.placements) if not isinstance(placement, Replicate)]
    if not axes:
        return None, [0]
    placement = piece.placements[axes[0]]
    if len(axes) > 1 or type(placement) is not Shard:
        return None
    mesh = piece.device_mesh.mesh
    row: list[int | slice] = [0] * mesh.ndim
    row[axes[0]] = slice(None)
    return placement.dim, mesh[tuple(row)].tolist()


def _fit(pieces: Sequence[torch.Tensor], dim: int | None, shape: Sequence[int]) -> bool:
    """Whether pieces make up that shape, each really as large in its file as it says."""
    stored = all(piece.untyped_storage().nbytes() >= piece.numel() * piece.element_size() for piece in pieces)
    if dim is None:
        return stored and all(tuple(piece.shape) == tuple(shape) for piece in pieces)
    if not 0 <= dim < len(shape) or any(piece.dim() != len(shape) for piece in pieces):
        return False
    others = [tuple(side for axis, side in enumerate(piece.shape) if axis != dim) for piece in pieces]
    rest = tuple(side for axis, side in enumerate(shape) if axis != dim)
    return stored and sum(piece.shape[dim] for piece in pieces) == shape[dim] and set(others) == {rest}


def _adapted(saved: str, states: Sequence[State], shape: Sequence[int], found: Shards, left: set[str]) -> torch.Tensor:
    """A weight with what an adapter adds to it: W + alpha / rank B A (Hu et al., 2021)."""
    weight = whole(saved, states, shape, found)
    stem = saved.removesuffix(".base_layer.weight")
    if stem == saved or stem + _A not in left:
        return weight
    if found.adapter is None:
        raise ConfigError(f"{found.folder} is incomplete: it holds an adapter without {shards.ADAPTER}")
    adapter = found.adapter
    if stem + _B not in left or len(shape) != 2:
        raise ConfigError(f"{found.folder} is incomplete: it has one factor only for {plain(stem, 100)}")
    down = whole(stem + _A, states, (adapter.rank, shape[1]), found).float()
    up = whole(stem + _B, states, (shape[0], adapter.rank), found).float()
    left -= {stem + _A, stem + _B}
    return torch.addmm(weight.float(), up, down, alpha=adapter.alpha / adapter.rank)


def _saved(name: str, keys: Collection[str]) -> str | None:
    """The key that a weight was saved under; PEFT wraps the network, and each layer that it adapts."""
    owner, _, leaf = name.rpartition(".")
    written = (name, f"{_PREFIX}{name}", f"{_PREFIX}{owner}.base_layer.{leaf}")
    return next((key for key in written if key in keys), None)


def _loaded(file: Path) -> State:
    """What one process saved; nothing in it is run. Raises ConfigError: it holds more than tensors, or is damaged."""
    try:
        others = get_unsafe_globals_in_checkpoint(file)
        if others:
            raise ConfigError(
                f"{file} holds more than tensors, and unpickling that may run code: {plain(', '.join(others), 100)}"
            )
        state = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    except VircError:
        raise
    except Exception as error:  # a damaged pickle may fail anywhere
        raise ConfigError(f"{file} cannot be read as tensors alone: {clause(error)}") from error
    if not isinstance(state, dict) or not state or not all(isinstance(name, str) for name in state):
        raise ConfigError(f"{file} holds no weights by name")
    return state


def _check_tied(weights: Mapping[str, torch.Tensor], network: Any, actor: Path) -> None:
    for group in merging.tied(network):
        if not all(merging.same(weights[group[0]], weights[name]) for name in group[1:]):
            raise ConfigError(f"{actor} contradicts its config: {' and '.join(group)} should be the same")


if __name__ == "__main__":
    sys.exit(merging.run(merge))
