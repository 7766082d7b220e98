"""Examples to the tensors a Qwen2.5-VL takes: ids, labels, patches."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tiny.architecture import IMAGE_MEAN, IMAGE_STD, MERGE, PATCH
from tiny.curriculum import Example
from virc.backends.chatml import render

IGNORE = -100


def patches(image: Image.Image) -> tuple[NDArray[np.float32], tuple[int, int, int]]:
    """The patches of an image as the Qwen2-VL image processor lays them out, several times faster.

    Args:
        image: RGB, sides multiples of PATCH * MERGE px.

    Returns:
        Array of shape (rows * columns, 3 * 2 * PATCH * PATCH), merge blocks together, and the grid (1, rows, columns).
    """
    mean, std = np.array(IMAGE_MEAN, np.float32), np.array(IMAGE_STD, np.float32)
    pixels = (np.asarray(image, np.float32) / np.float32(255) - mean) / std
    rows, columns = image.height // PATCH, image.width // PATCH
    blocks = pixels.transpose(2, 0, 1).reshape(3, rows // MERGE, MERGE, PATCH, columns // MERGE, MERGE, PATCH)
    ordered = blocks.transpose(1, 4, 2, 5, 0, 3, 6).reshape(rows * columns, 3, 1, PATCH, PATCH)
    return ordered.repeat(2, axis=2).reshape(rows * columns, -1), (1, rows, columns)


def encode(example: Example, tokenizer: Any) -> tuple[list[int], list[int]]:
    """Ids and labels of one example: IGNORE outside the assistant's turns, and in them where `only` leaves it out."""
    image_tokens = [image.width * image.height // (PATCH * MERGE) ** 2 for image in example.images]
    rendered = render(example.messages, image_tokens, tokenizer)
    only = set(tokenizer.convert_tokens_to_ids(list(example.only)) or rendered.ids)
    labels = [IGNORE] * len(rendered.ids)
    for span in rendered.spans:
        if span.role == "assistant":
            ids = rendered.ids[span.start : span.stop]
            labels[span.start : span.stop] = [each if each in only else IGNORE for each in ids]
    return rendered.ids, labels


def collate(examples: Sequence[Example], tokenizer: Any) -> dict[str, Any]:
    """A right-padded batch of model inputs with labels, as torch tensors."""
    import torch

    encoded = [encode(example, tokenizer) for example in examples]
    longest = max(len(ids) for ids, _ in encoded)
    pad = tokenizer.pad_token_id
    ids = torch.tensor([row + [pad] * (longest - len(row)) for row, _ in encoded])
    labels = torch.tensor([row + [IGNORE] * (longest - len(row)) for _, row in encoded])
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row, _ in encoded])
    image_id = tokenizer.convert_tokens_to_ids("<|image_pad|>")
    batch = {"input_ids": ids, "labels": labels, "attention_mask": mask, "mm_token_type_ids": (ids == image_id).int()}
    drawn = [patches(image) for example in examples for image in example.images]
    if drawn:
        batch["pixel_values"] = torch.from_numpy(np.concatenate([pixels for pixels, _ in drawn]))
        batch["image_grid_thw"] = torch.tensor([grid for _, grid in drawn])
    return batch
