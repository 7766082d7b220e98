"""What verl 0.9.1 is changed in, in every process that builds a model: its key `model.external_lib` names this module.

- Parts of the model that the variable `VIRC_FROZEN` lists stay as they are (`virc.engines.verl.model`).
- Weights that are not finite are not saved: the run ends.
- Rows without pictures can be computed. Where a batch of Qwen2-VL or Qwen2.5-VL has none, verl shows the vision part a
  black patch, so that all devices do the same work, and takes the mean of what it returns: an object, since
  transformers 5.
"""

from typing import Any

import torch
from verl.models.transformers import qwen2_vl  # type: ignore[import-not-found]
from verl.workers.engine.fsdp.transformer_impl import FSDPEngine  # type: ignore[import-not-found]

from virc.engines.verl.model import frozen, mend_saving, patch_model_building

_of_pictures = qwen2_vl._get_input_embeds


def input_embeds(
    model: Any,
    input_ids: "torch.Tensor",
    attention_mask: "torch.Tensor | None" = None,
    pixel_values: "torch.Tensor | None" = None,
    pixel_values_videos: "torch.Tensor | None" = None,
    *grids: "torch.Tensor | None",
    **named: "torch.Tensor | None",
) -> tuple["torch.Tensor", "torch.Tensor | None"]:
    """In place of verl's `_get_input_embeds`: the embeddings of tokens and pictures, of rows without pictures too.

    Returns:
        (rows, tokens, hidden size), and the mask on the same device.
    """
    if pixel_values is None and pixel_values_videos is None:
        vision, pads = model.config.vision_config, (1, 4, 4)
        patch = vision.in_channels * vision.temporal_patch_size * vision.patch_size**2
        black = torch.zeros((16, patch), dtype=model.visual.dtype, device=input_ids.device)
        seen = model.visual(black, grid_thw=torch.tensor([pads], device=input_ids.device))
        features, _ = qwen2_vl.unpack_visual_output(seen)
        embeds = model.get_input_embeddings()(input_ids)
        embeds = embeds + 0.0 * features.mean().to(embeds.device, embeds.dtype)
        return embeds, None if attention_mask is None else attention_mask.to(embeds.device)
    found: tuple[torch.Tensor, torch.Tensor | None] = _of_pictures(
        model, input_ids, attention_mask, pixel_values, pixel_values_videos, *grids, **named
    )
    return found


qwen2_vl._get_input_embeds = input_embeds
patch_model_building(frozen())
mend_saving(FSDPEngine)
