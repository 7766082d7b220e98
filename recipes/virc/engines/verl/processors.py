"""Processors of families that verl 0.9.1 has no case for, in each of its processes (`VERL_USE_EXTERNAL_MODULES`).

For a processor that is not in its list verl warns and goes on without one: it would train on texts without their
pictures.
"""

from pathlib import Path
from typing import Any

import transformers
import verl.utils  # type: ignore[import-not-found]
from transformers import BatchFeature
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING_NAMES  # type: ignore[attr-defined]
from verl.utils import tokenizer as package  # type: ignore[import-not-found]
from verl.utils.tokenizer import tokenizer as module  # type: ignore[import-not-found]

from virc.backends.checkpoint import model_type
from virc.families import registry as families

_of_verl = module.hf_processor


class _Tiles:
    """A processor that gives the tiles of pictures whatever the text: verl has no marks of them left in it.

    It has the name of its parent, which is written into checkpoints.
    """

    image_processor: Any

    def __call__(self, images: Any = None, text: Any = None, videos: Any = None, **_: Any) -> BatchFeature:
        """Tiles, shape (tiles of all pictures, 3, side, side), or patches, shape (pictures, most patches, 768).

        Of MiniCPM-V (patches, 3, side, side): verl joins the rows of a batch, and its strip is one row (`as_strip`).
        """
        if not images:
            return BatchFeature({})
        found = self.image_processor(images=images, return_tensors="pt")
        if "target_sizes" in found:
            strip = found["pixel_values"][0]
            found["pixel_values"] = strip.unflatten(-1, (-1, strip.shape[1])).permute(2, 0, 1, 3)
        return BatchFeature({name: part for name, part in found.items() if not name.startswith(("num_", "grids"))})


def hf_processor(name_or_path: str, **named: Any) -> Any:
    """In place of verl's `hf_processor`: a processor for the families with settings of their own, too."""
    kind = str(model_type(Path(name_or_path)))
    given = families.of(kind).images.given
    if not given:
        return _of_verl(name_or_path, **named)
    name = PROCESSOR_MAPPING_NAMES[kind]
    found = type(name, (_Tiles, getattr(transformers, name)), {}).from_pretrained(name_or_path, **named)  # type: ignore[attr-defined]
    vars(found.image_processor).update(given)
    found.config = transformers.AutoConfig.from_pretrained(name_or_path, **named)
    return found


for each in (module, package, verl.utils):
    each.hf_processor = hf_processor
