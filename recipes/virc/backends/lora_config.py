"""LoRA adapters (Hu et al., 2021): what the settings file of one says, as PEFT and LLaMA-Factory write it."""

from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from virc.core.errors import UNREADABLE, ConfigError, errors_as
from virc.core.files import contents

SETTINGS = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"

_MAX_BYTES = 2**20
_FURTHER = (
    "alora_invocation_tokens alpha_pattern arrow_config ensure_weight_tying layer_replication lora_bias "
    "megatron_config target_parameters trainable_token_indices".split()
)
_PLAIN_STARTS = (None, True, False, "gaussian", "eva", "orthogonal")  # the others change the base as well


class Adapter(msgspec.Struct, frozen=True):
    """The settings that say what an adapter does to its base; which layers it is for, its weights say.

    Args:
        base: folder or hub id of the model it was trained on.
        alpha: its updates are scaled by alpha / rank, or by alpha / sqrt(rank) if `rslora` (Kalajdzievski, 2023).
        further: names of settings that make it more than such updates.
    """

    method: Literal["LORA"] = msgspec.field(name="peft_type")
    base: Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f]{1,4096}\Z")] = msgspec.field(name="base_model_name_or_path")
    alpha: float = msgspec.field(name="lora_alpha", default=8.0)
    rank: Annotated[int, Meta(ge=1, le=4096)] = msgspec.field(name="r", default=8)
    rslora: bool = msgspec.field(name="use_rslora", default=False)
    further: tuple[str, ...] = ()


def read_lora_config(folder: Path) -> Adapter:
    path = folder / SETTINGS
    with errors_as(ConfigError, f"{path} describes no LoRA adapter", caught=UNREADABLE):
        content = msgspec.json.decode(contents(path, _MAX_BYTES), type=dict[str, Any])
        switches = (key for key, value in content.items() if key.startswith("use_") and value is True)
        further = sorted({*switches, *(key for key in _FURTHER if content.get(key))} - {"use_rslora"})
        start = content.get("init_lora_weights")
        further += [] if start in _PLAIN_STARTS else [f"init_lora_weights: {str(start)[:20]}"]
        further += [] if content.get("bias") in (None, "none") else [f"bias: {str(content['bias'])[:20]}"]
        return msgspec.convert({**content, "further": further}, Adapter)
