"""An auxiliary loss on positions: a head that is dropped afterwards predicts row and column of every image token.

The language model must derive absolute positions from relative rotary angles before it can write a box. One box per
page teaches that slowly; some sixty labels per page teach it in two minutes.
"""

from collections.abc import Mapping
from typing import Any

from tiny.architecture import MERGE

LAYER = 2  # of the hidden states: late enough to have the position, early enough for later layers to use it
_MAX_CELLS = 36  # rows and columns that are distinguished; those beyond count as the last


def head(width: int) -> Any:
    """The classifier on hidden states of `width` features."""
    import torch

    return torch.nn.Linear(width, 2 * _MAX_CELLS)


def loss(classifier: Any, hidden: Any, batch: Mapping[str, Any]) -> Any:
    """Cross-entropy of row and column, in mean over the image tokens of a batch; zero where it has none.

    Args:
        hidden: hidden states after LAYER layers, shape (rows, length, width).
        batch: what `encode.collate` made.
    """
    import torch
    from torch.nn.functional import cross_entropy, rms_norm

    if "image_grid_thw" not in batch:
        return classifier.bias.sum() * 0
    cells = [(rows // MERGE, columns // MERGE) for _, rows, columns in batch["image_grid_thw"].tolist()]
    cells_of_tokens = torch.cat(
        [torch.cartesian_prod(torch.arange(r), torch.arange(c)).reshape(-1, 2) for r, c in cells]
    )
    labels = cells_of_tokens.clamp(max=_MAX_CELLS - 1).to(hidden.device)
    logits = classifier(rms_norm(hidden[batch["mm_token_type_ids"].bool()], hidden.shape[-1:]))
    return cross_entropy(logits[:, :_MAX_CELLS], labels[:, 0]) + cross_entropy(logits[:, _MAX_CELLS:], labels[:, 1])
