"""LoRA adapters (Hu et al., 2021): what the settings file of one says, as PEFT and LLaMA-Factory write it."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from virc.config.taken import Taken, take
from virc.core.errors import UNREADABLE, ConfigError, errors_as
from virc.core.files import contents
from virc.core.json_stream import once

SETTINGS = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"

_MAX_BYTES = 2**20
_PLAIN_STARTS = (None, True, False, "gaussian", "eva", "orthogonal")  # the others change the base as well


class Adapter(msgspec.Struct, frozen=True):
    """The settings that say what an adapter does to its base; which layers it is for, its weights say.

    Args:
        base: folder or hub id of the model it was trained on.
        alpha: its updates are scaled by alpha / rank, or by alpha / sqrt(rank) if `rslora` (Kalajdzievski, 2023).
        ranks: the ranks of some layers, by patterns of their names.
        targets: ends of the names of layers, or a pattern of them.
        whole: names of modules whose own weights it has in place of the base's.
    """

    method: Literal["LORA"] = msgspec.field(name="peft_type")
    base: Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f]{1,4096}\Z")] = msgspec.field(name="base_model_name_or_path")
    alpha: float = msgspec.field(name="lora_alpha")
    rank: Annotated[int, Meta(ge=1, le=4096)] = msgspec.field(name="r", default=8)
    rslora: bool = msgspec.field(name="use_rslora", default=False)
    start: bool | str | None = msgspec.field(name="init_lora_weights", default=None)
    bias: str | None = None
    ranks: Mapping[str, int] | None = msgspec.field(name="rank_pattern", default=None)
    targets: tuple[str, ...] | str | None = msgspec.field(name="target_modules", default=None)
    whole: tuple[str, ...] | None = msgspec.field(name="modules_to_save", default=None)


def read_lora_config(folder: Path) -> Adapter:
    return take_lora_config(folder).value


def take_lora_config(folder: Path) -> Taken[Adapter]:
    """The settings of an adapter; what is left makes it more than such updates, or is not known."""
    path = folder / SETTINGS
    with errors_as(ConfigError, f"{path} describes no LoRA adapter", caught=UNREADABLE):
        content = json.loads(contents(path, _MAX_BYTES), object_pairs_hook=once)
        said = {key: each for key, each in content.items() if each is not False and (key, each) != ("revision", "main")}
        adapter, left = take("adapter", said, Adapter)
        if not 0 < abs(adapter.alpha) < math.inf:
            raise ValueError(f"its lora_alpha is {adapter.alpha:g}; verl's merger writes 0 for any")
    left += (f"init_lora_weights: {adapter.start}"[:40],) * (adapter.start not in _PLAIN_STARTS)
    left += (f"bias: {adapter.bias}"[:26],) * (adapter.bias not in (None, "none"))
    return Taken(adapter, left)
