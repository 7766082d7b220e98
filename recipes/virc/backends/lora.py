"""A LoRA adapter (Hu et al., 2021), added to the weights of its base once they are loaded.

Not by PEFT: it reads no keys from before transformers 4.52, silently skips weights that match nothing, and if it is
installed, transformers loads adapters by itself, pickled ones too.
"""

import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from virc.backends import checkpoint, inventory, lora_config
from virc.backends.lora_config import Adapter
from virc.config.taken import Left
from virc.core.errors import ConfigError
from virc.core.files import is_file
from virc.core.text import plain

if TYPE_CHECKING:
    import torch

_A, _B = ".lora_A.weight", ".lora_B.weight"
_FURTHER_PARTS = re.compile(r"base_layer|\.lora_(?![AB]\.weight$)")
"""What keys of weights have that are more than the two factors of a layer: of KaSA, VeLoRA, MonteCLoRA and others."""
_PREFIX = "base_model.model."
_SINCE_4_52 = (
    (re.compile(r"^model\.(?=layers\.|embed_tokens\.|norm\.)"), "model.language_model."),
    (re.compile(r"^visual\."), "model.visual."),
)
"""How the networks are called since transformers 4.52, by their former names."""


def check_adapter(folder: Path, base: Path | None = None, ignore: Collection[str] = ()) -> Left:
    """Refuse what `merge` would refuse, as far as settings and the weights' header tell, and what nothing would read.

    Args:
        base: the folder with which the adapter's own settings and texts are compared.
        ignore: names of settings and of files of weights that are left out.

    Returns:
        What is not read.

    Raises:
        ConfigError: the adapter is more than a plain one, pickled, damaged or empty.
    """
    adapter, further = lora_config.take_lora_config(folder)
    _refuse_further(folder, sorted(each for each in further if each.partition(":")[0] not in ignore))
    weights = folder / lora_config.WEIGHTS
    if not is_file(weights):
        if any(folder.glob("*.bin")):
            raise checkpoint.pickled(folder)
        raise ConfigError(f"{folder} is incomplete: {lora_config.WEIGHTS} is missing")
    if not checkpoint.count(weights):
        raise ConfigError(f"{weights} holds no weights")
    found = checkpoint.tensors(weights).items()
    # PEFT 0.21.2 saves the base's own weights with those of embeddings and of the head, whose bases may be tied
    layers = (
        key for key, (_, shape, _) in found if _FURTHER_PARTS.search(key) or (key.endswith(_A) and len(shape) != 2)
    )
    _refuse_further(folder, sorted({key.removeprefix(_PREFIX) for key in layers})[:1])
    said = {adapter.rank, *(adapter.ranks or {}).values()}
    if other := {shape[0] for key, (_, shape, _) in found if key.endswith(_A)} - said:
        sentence = f"{folder} contradicts itself: it has weights of rank {min(other)}, and {lora_config.SETTINGS} says"
        raise ConfigError(f"{sentence} {', '.join(map(str, sorted(said)))}, by which they are scaled")
    parts = {part for key, _ in found for part in key.split(".")}
    absent = {name for each in adapter.whole or () for name in (each.rpartition(".")[2],) if name not in parts}
    if absent and "modules_to_save" not in ignore:
        named = plain(", ".join(sorted(absent)))
        raise ConfigError(f"{folder} is incomplete: it has no weights of {named}, which modules_to_save lists")
    left = inventory.of_adapter(folder, ignore, base)
    if isinstance(adapter.targets, tuple) and not {each.rpartition(".")[2] for each in adapter.targets} <= parts:
        left.add("adapter", ["target_modules"])  # some are on no layer
    left.add("adapter", [*further, *(["modules_to_save"] if absent else [])])
    return left


def _refuse_further(folder: Path, further: Sequence[str]) -> None:
    if further:
        of_tie = ", of the head or the embeddings, whose weights may be tied" if "base_layer" in further[0] else ""
        raise ConfigError(
            f"{folder} is no plain LoRA adapter: {plain(', '.join(further))}{of_tie}",
            "merge it into its base with what trained it, and name the merged folder",
        )


def merge(network: Any, folder: Path) -> None:
    """Add an adapter that `check` let pass to the weights of a network: W + s B A, with s = alpha / rank.

    Weights that the adapter holds whole (`modules_to_save`) take the place of the network's.

    Raises:
        ConfigError: a weight of the adapter is for none of the network's, or does not fit it.
    """
    import torch
    from safetensors import safe_open

    adapter = lora_config.read_lora_config(folder)
    weights = dict(network.named_parameters(remove_duplicate=False))
    with torch.no_grad(), safe_open(folder / lora_config.WEIGHTS, framework="pt") as file:
        keys = set(file.keys())
        for key in sorted(keys):
            if key.endswith(_B) and key.removesuffix(_B) + _A in keys:
                continue  # read with its A
            name = _name(key)
            if name not in weights:
                raise ConfigError(f"{folder} does not belong to this base, which has no {plain(name, 100)}")
            if key.endswith(_A) and key.removesuffix(_A) + _B not in keys:
                raise ConfigError(f"{folder} is incomplete: it has one factor only for {name}")
            new = _changed(file, key, weights[name], adapter)
            if new is None:
                raise ConfigError(f"{folder} does not belong to this base: {name} is of another size")
            owner, _, leaf = name.rpartition(".")
            # A new parameter, so that tied weights which the adapter does not name stay as they are.
            setattr(network.get_submodule(owner), leaf, torch.nn.Parameter(new, requires_grad=False))


def _name(key: str) -> str:
    name = key.removeprefix(_PREFIX)
    name = name.removesuffix(_A) + ".weight" if name.endswith(_A) else name
    for former, since in _SINCE_4_52:
        name = former.sub(since, name)
    return name


def _changed(file: Any, key: str, weight: "torch.Tensor", adapter: Adapter) -> "torch.Tensor | None":
    """The weight with the adapter's change under that key; None if the sizes do not match."""
    import torch

    given = file.get_tensor(key).to(weight.device)
    if not key.endswith(_A):
        return given.to(weight.dtype) if given.shape == weight.shape else None
    down, up = given.float(), file.get_tensor(key.removesuffix(_A) + _B).to(weight.device).float()
    rank = up.shape[-1] if up.dim() == 2 else 0
    if not rank or weight.dim() != 2 or (*up.shape, *down.shape) != (len(weight), rank, rank, weight.shape[1]):
        return None
    scale = adapter.alpha / (rank**0.5 if adapter.rslora else rank)
    return torch.addmm(weight.float(), up, down, alpha=scale).to(weight.dtype)
