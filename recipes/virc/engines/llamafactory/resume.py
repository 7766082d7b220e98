"""A checkpoint as LLaMA-Factory's trainer can really load it.

The trainer saves weights under the names of the hub (`visual.*`, `model.*`) and loads them without a word into a model
whose own names differ (`model.visual.*`, `model.language_model.*`): nothing is loaded. Starting from the checkpoint as
a base instead rounds float32 weights to the bfloat16 of its config. So the weights are written again under the
model's own names; safetensors keeps names in a header (its README, 'Format'), so that no tensor is looked at.
"""

import json
import shutil
import struct
from pathlib import Path
from typing import IO, Any

from virc.core.errors import EngineError

_MOST_HEADER = 100_000_000  # bytes; the limit of safetensors itself
_PIECE = 2**24
_WEIGHTS = ("model*.safetensors", "model.safetensors.index.json")


def loadable(checkpoint: Path, to: Path) -> None:
    """Write a checkpoint of full fine-tuning whose weights have the model's own names; all other files are links."""
    shutil.rmtree(to, ignore_errors=True)
    to.mkdir(parents=True)
    weights = {path for pattern in _WEIGHTS for path in checkpoint.glob(pattern)}
    for path in checkpoint.iterdir():
        if path not in weights:
            (to / path.name).symlink_to(path.absolute())
        elif path.suffix == ".json":
            index = json.loads(path.read_bytes())
            named = {in_memory(name): file for name, file in index["weight_map"].items()}
            (to / path.name).write_text(json.dumps({**index, "weight_map": named}))
        else:
            _rename(path, to / path.name)


def in_memory(name: str) -> str:
    """The model's own name for a tensor of the hub names of the families' models; its own names stay."""
    name = name.replace("vision_tower.vision_model.", "vision_tower.")  # of Gemma 3
    if name.startswith(("visual.", "vision_tower.", "multi_modal_projector.")):
        return f"model.{name}"
    if name.startswith("language_model."):
        inner = name.removeprefix("language_model.")
        return inner.replace("model.", "model.language_model.", 1) if inner.startswith("model.") else inner
    if name.startswith(("model.embed_tokens.", "model.layers.", "model.norm.")):
        return name.replace("model.", "model.language_model.", 1)
    return name


def _rename(source: Path, target: Path) -> None:
    with source.open("rb") as read, target.open("wb") as write:
        header = {in_memory(name): entry for name, entry in _header(read, source).items()}
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)  # tensors begin at a multiple of eight bytes
        write.write(struct.pack("<Q", len(text)) + text)
        shutil.copyfileobj(read, write, _PIECE)


def _header(file: IO[bytes], name: Path) -> dict[str, Any]:
    try:
        (length,) = struct.unpack("<Q", file.read(8))
        if length > _MOST_HEADER:
            raise ValueError
        header: dict[str, Any] = json.loads(file.read(length))
    except (ValueError, struct.error) as error:
        raise EngineError(f"{name} is no safetensors file") from error
    return header
