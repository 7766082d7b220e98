"""A model and the conversation in its KV cache: only new tokens are computed.

The prefix that the next conversation shares with the cached one is kept; the rest is cut off. So a turn costs its own
tokens, a rejected try costs only itself, and samples of one picture share its prefill. Every image passes the vision
tower once, unless the text before it changes. A model with recurrent layers can be cut at the ends of prompts alone
(`recurrent`).
"""

import copy
import traceback
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from virc.backends.chatml import Rendered
from virc.backends.devices import memory_refused
from virc.core.errors import EngineError, SetupError, VircError
from virc.reasoning.images import Shown
from virc.reasoning.resize import Grid, smart_resize

if TYPE_CHECKING:
    import torch


class CachedModel:
    """Feeds conversations to a model of one of `checkpoint.FAMILIES` and returns the logits of the next token.

    It can be interrupted at any point: `_held` never lists more ids than the cache has. Its image processor normalizes
    and cuts into patches, and never resizes.

    Attributes:
        tokens_fed: ids fed to the language model in total.
        vision_encodings: images fed to the vision tower in total.
    """

    def __init__(self, network: Any, processor: Any, grid: Grid) -> None:
        self.network, self.processor, self.grid = network, processor, grid
        self._config = network.config
        self.tokens_fed = 0
        self.vision_encodings = 0
        self.clear()

    def clear(self) -> None:
        from transformers import DynamicCache

        self._held: tuple[list[int], list[tuple[int, Shown]]] = ([], [])
        self._snapshots = Snapshots(self._config)
        self._cache: Any = DynamicCache(config=self._config if self.recurrent else None)
        self._next_position = 0

    @property
    def recurrent(self) -> bool:
        return bool(self._snapshots.layers)

    def image_tokens(self, shown: Shown) -> int:
        width, height = self._size(shown)
        return width * height // self.grid.factor**2

    def read(self, conversation: Rendered, images: Sequence[Shown]) -> "torch.Tensor":
        """Feed the new ids of a conversation: at least the last one, unless the logits after it are kept.

        Returns:
            Logits of the next token, shape (vocabulary,).

        Raises:
            EngineError, SetupError: the model failed, or memory ran out; the conversation is forgotten.
        """
        placed = [(span.start, images[span.index]) for span in conversation.images]
        whole, shared = len(conversation.ids), self._shared(conversation.ids, placed)
        positions = self._positions(conversation, images)
        logits = self._snapshots.logits(whole) if shared == whole else None
        keep = self._cut(shared if logits is not None else min(shared, whole - 1))
        if logits is None:
            new = [shown for start, shown in placed if start >= keep]
            logits = self._forward(conversation.ids[keep:], positions[..., keep:], new)
            self._snapshots.keep(self._cache, logits)
        self._held = (list(conversation.ids), placed)
        self._next_position = int(positions.max()) + 1
        return logits

    def append(self, token: int) -> "torch.Tensor":
        """Feed one more text id; returns the logits of the next token, shape (vocabulary,)."""
        import torch

        positions = torch.full((3, 1, 1), self._next_position)
        logits = self._forward([token], positions, [])
        self._held[0].append(token)
        self._next_position += 1
        return logits

    def _shared(self, ids: list[int], placed: list[tuple[int, Shown]]) -> int:
        """How many ids from the start are in the cache, with the same images in the same places."""
        held_ids, held_images = self._held
        pairs = enumerate(zip(held_ids, ids, strict=False))
        keep = next((index for index, (old, new) in pairs if old != new), min(len(held_ids), len(ids)))
        for (start, old), (_, new) in zip(held_images, placed, strict=False):
            if start < keep and old is not new and (old.size, old.pixels.tobytes()) != (new.size, new.pixels.tobytes()):
                return start
        return keep

    def _cut(self, keep: int) -> int:
        """Drop all but the first `keep` ids, layer by layer: an interrupt may have left them uneven.

        Returns how many are kept: fewer if a recurrent layer had to go back further.
        """
        keep = self._snapshots.cut(self._cache, keep)
        held_ids, held_images = self._held
        self._held = (held_ids[:keep], [(start, shown) for start, shown in held_images if start < keep])
        if keep == 0:
            self.clear()
            return 0
        for number, layer in enumerate(self._cache.layers):
            if number not in self._snapshots.layers:
                layer.keys, layer.values = layer.keys[..., :keep, :], layer.values[..., :keep, :]
        return keep

    def _positions(self, conversation: Rendered, images: Sequence[Shown]) -> "torch.Tensor":
        """The model's own rotary positions of the whole conversation, shape (3, 1, ids)."""
        import torch

        kinds = torch.zeros(1, len(conversation.ids), dtype=torch.int)
        for span in conversation.images:
            kinds[0, span.start : span.stop] = 1
        patch = self.processor.patch_size
        sizes = [self._size(images[span.index]) for span in conversation.images]
        grids = torch.tensor([[1, height // patch, width // patch] for width, height in sizes])
        ids = torch.tensor([conversation.ids])
        positions, _ = self.network.model.get_rope_index(ids, mm_token_type_ids=kinds, image_grid_thw=grids)
        return positions  # type: ignore[no-any-return]

    def _forward(self, ids: list[int], positions: "torch.Tensor", new: Sequence[Shown]) -> "torch.Tensor":
        import torch

        device, end = self.network.device, len(self._held[0]) + len(ids)
        self._snapshots.at = None  # until all layers have read the ids
        try:
            with torch.inference_mode():
                kept = {"past_key_values": self._cache, "use_cache": True, "logits_to_keep": 1}
                given = {"input_ids": torch.tensor([ids], device=device), "position_ids": positions.to(device)}
                output = self.network(**given, **kept, **self._patches(new))
        except RuntimeError as error:
            self.clear()
            raise failed(error, len(ids), "lower --max-pixels") from error
        self._snapshots.at = end
        self.tokens_fed += len(ids)
        self.vision_encodings += len(new)
        logits: torch.Tensor = output.logits[0, -1]
        if logits.isnan().any():
            self.clear()
            raise no_number()
        return logits

    def _patches(self, new: Sequence[Shown]) -> dict[str, "torch.Tensor"]:
        """Patches of the new images and their grids in patches (time, rows, columns), none without images."""
        if not new:
            return {}
        sizes, how = [self._size(shown) for shown in new], self.processor.resample
        pictures = [
            x.pixels if x.size == size else x.pixels.resize(size, how) for x, size in zip(new, sizes, strict=True)
        ]
        batch = self.processor(images=pictures, do_resize=False, return_tensors="pt")
        patch = self.processor.patch_size
        wanted = [[1, picture.height // patch, picture.width // patch] for picture in pictures]
        if batch["image_grid_thw"].tolist() != wanted:
            raise EngineError(f"the image processor made {batch['image_grid_thw'].tolist()} of {wanted} patches")
        return {name: batch[name].to(self.network.device) for name in ("pixel_values", "image_grid_thw")}

    def _size(self, shown: Shown) -> tuple[int, int]:
        """Width and height at which the model sees an image: as shown, unless off the grid (1000 x 1000)."""
        on_grid = shown.width % self.grid.factor == 0 and shown.height % self.grid.factor == 0
        return shown.size if on_grid else smart_resize(*shown.size, self.grid)


def failed(error: Exception, count: int, hint: str) -> VircError:
    """The error of a network that failed on `count` tokens; the hint is for running out of memory.

    Releases the tensors that the error's frames still hold: the next try may need their memory.
    """
    traceback.clear_frames(error.__traceback__)
    refused = memory_refused(error)
    if refused is not None:
        return SetupError(f"out of memory while reading {count} tokens{refused}", hint)
    reason = str(error).strip().partition("\n")[0]
    return EngineError(f"the model failed: {reason}")


def no_number() -> EngineError:
    return EngineError("the model's output is not a number: its weights are damaged or overflow")


class Snapshot(NamedTuple):
    """The recurrent layers of a cache once it held `length` ids, by number, and the logits of the id after them."""

    length: int
    layers: dict[int, Any]
    logits: "torch.Tensor"


class Snapshots:
    """Copies of the recurrent layers of one conversation's cache; empty for a model that has none.

    Attributes:
        at: ids that the layers have read; None after an interrupted step, when layers differ.
    """

    def __init__(self, config: Any) -> None:
        kinds = getattr(config.get_text_config(), "layer_types", None) or ()
        self.layers = tuple(number for number, kind in enumerate(kinds) if kind == "linear_attention")
        self.at: int | None = 0
        self._kept: list[Snapshot] = []

    def logits(self, length: int) -> "torch.Tensor | None":
        """Logits of the id after a prompt of that length, if they are kept."""
        return next((each.logits for each in self._kept if each.length == length), None)

    def keep(self, cache: Any, logits: "torch.Tensor") -> None:
        if self.layers and self.at:
            layers = {number: copy.deepcopy(cache.layers[number]) for number in self.layers}
            self._kept = [*self._kept[:1], Snapshot(self.at, layers, logits)]

    def cut(self, cache: Any, length: int) -> int:
        """Take the layers back to the first `length` ids, or else to the longest prompt before that is kept.

        Returns how many ids they have then read; 0: the cache has to be built again.
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
