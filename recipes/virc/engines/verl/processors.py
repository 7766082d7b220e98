"""Processors of families that verl 0.9.1 has no case for, in each of its processes (`VERL_USE_EXTERNAL_MODULES`).

For a processor that is not in its list verl warns and goes on without one: it would train on texts without their
pictures.
"""

from pathlib import Path
from typing import Any

import transformers
import verl.utils  # type: ignore[import-not-found]
from transformers import BatchFeature
from verl.utils import tokenizer as package  # type: ignore[import-not-found]
from verl.utils.tokenizer import tokenizer as module  # type: ignore[import-not-found]

from virc.backends.checkpoint import model_type

_of_verl = module.hf_processor


class _Tiles:
    """A processor that gives the tiles of pictures whatever the text: verl has no marks of them left in it.

    Each has the name of its parent, which is written into checkpoints.
    """

    image_processor: Any

    def __call__(self, images: Any = None, text: Any = None, videos: Any = None, **_: Any) -> BatchFeature:
        """Tiles, shape (tiles of all pictures, 3, side, side), or patches, shape (pictures, most patches, 768)."""
        if not images:
            return BatchFeature({})
        found = self.image_processor(images=images, return_tensors="pt")
        return BatchFeature({name: part for name, part in found.items() if not name.startswith("num_")})


InternVLProcessor: Any = type("InternVLProcessor", (_Tiles, transformers.InternVLProcessor), {})
Gemma3Processor: Any = type("Gemma3Processor", (_Tiles, transformers.Gemma3Processor), {})
Lfm2VlProcessor: Any = type("Lfm2VlProcessor", (_Tiles, transformers.Lfm2VlProcessor), {})
_OWN = {"internvl": (InternVLProcessor, "crop_to_patches", True), "gemma3": (Gemma3Processor, "do_pan_and_scan", False),
        "lfm2_vl": (Lfm2VlProcessor, "do_image_splitting", False)}  # fmt: skip
"""Model type -> processor, and a setting of its image processor."""


def hf_processor(name_or_path: str, **named: Any) -> Any:
    """In place of verl's `hf_processor`: a processor for the families with one of their own, too."""
    kind = model_type(Path(name_or_path))
    if kind not in _OWN:
        return _of_verl(name_or_path, **named)
    own, setting, value = _OWN[kind]
    found = own.from_pretrained(name_or_path, **named)
    setattr(found.image_processor, setting, value)
    found.config = transformers.AutoConfig.from_pretrained(name_or_path, **named)
    return found


for each in (module, package, verl.utils):
    each.hf_processor = hf_processor
