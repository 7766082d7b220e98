"""The states of linear-attention layers, which sum up all ids read and cannot be cut back to an earlier one.

Gated delta nets (Qwen3.5) keep such a state instead of keys and values. So copies are kept: of the ends of the first
and of the newest prompt, to which samples and rejected tries go back. Whatever lies between is read anew.
"""

import copy
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import torch


class Snapshot(NamedTuple):
    """The recurrent layers of a cache once it held `length` ids, by number, and the logits of the id after them."""

    length: int
    layers: dict[int, Any]
    logits: "torch.Tensor"


class Snapshots:
    """Copies of the recurrent layers of one conversation's cache; empty for a model that has none.

    Args:
        config: of the `transformers` model.

    Attributes:
        at: ids that the layers have read; None where a step was broken off, so that layers differ.
    """

    def __init__(self, config: Any) -> None:
        kinds = getattr(config.get_text_config(), "layer_types", None) or ()
        self.layers = tuple(number for number, kind in enumerate(kinds) if kind == "linear_attention")
        self.at: int | None = 0
        self._kept: list[Snapshot] = []

    def logits(self, length: int) -> "torch.Tensor | None":
        """Logits of the id after a prompt of that length, where its end is kept."""
        return next((each.logits for each in self._kept if each.length == length), None)

    def keep(self, cache: Any, logits: "torch.Tensor") -> None:
        """Keep the layers as they are, at the end of a prompt."""
        if self.layers and self.at:
            layers = {number: copy.deepcopy(cache.layers[number]) for number in self.layers}
            self._kept = [*self._kept[:1], Snapshot(self.at, layers, logits)]

    def cut(self, cache: Any, length: int) -> int:
        """Take the layers back to the first `length` ids, or else to the longest prompt before that is kept.

        Returns:
            How many ids they have read then; 0: the cache is to be made anew.
        """
        if not self.layers:
            return length
        self._kept = [each for each in self._kept if each.length <= length]
        if self.at == length:
            return length
        if not self._kept:
            return 0
        self.at = None
        for number, layer in self._kept[-1].layers.items():
            cache.layers[number] = copy.deepcopy(layer)
        self.at = self._kept[-1].length
        return self.at
