"""A model with the KV cache of one conversation: only tokens after the shared prefix are computed.

`CachedModel.read` compares the next conversation with the cached one, cuts the cache back to their common prefix and
feeds the rest. So a turn costs its own tokens, a rejected try costs only itself, and samples of one picture share its
prefill. An image passes the vision tower once, unless the text before it changes. Recurrent layers cannot be cut:
`Snapshots` restores them as they were at the end of an earlier prompt.
"""

import copy
import math
import traceback
from collections.abc import Sequence
from inspect import signature
from typing import TYPE_CHECKING, Any, NamedTuple

from virc.backends.chatml import Rendered
from virc.backends.devices import memory_refused
from virc.core.errors import EngineError, SetupError, VircError
from virc.families import registry as families
from virc.reasoning.images import Shown
from virc.reasoning.resize import Grid, Tiles, Views

if TYPE_CHECKING:
    import torch


class CachedModel:
    """Feeds conversations to a model of a family that runs here and returns the logits of the next token.

    It can be interrupted at any point: `_cached_ids` never lists more ids than the cache has. Its image processor
    normalizes and cuts into patches, and never resizes.

    Attributes:
        tokens_fed: ids fed to the language model in total.
        vision_encodings: images fed to the vision tower in total.
    """

    def __init__(self, network: Any, processor: Any, grid: Grid) -> None:
        self.network, self.processor, self.grid = network, processor, grid
        self._config = network.config
        self._rotary = hasattr(network.model, "get_rope_index")
        family = families.of(network.config.model_type)
        self._types, self._given = family.marks.types, family.images.given
        if "logits_to_keep" not in signature(network.forward).parameters:  # MiniCPM-V 4.6: it computes those of all ids
            network.lm_head.register_forward_pre_hook(lambda head, given: (given[0][:, -1:],))
        self._cache_name = "cache" if "cache" in signature(network.forward).parameters else "past_key_values"  # to 5.23
        self.tokens_fed = 0
        self.vision_encodings = 0
        self.clear()

    def clear(self) -> None:
        from transformers import DynamicCache

        self._cached_ids = list[int]()
        self._cached_images = list[tuple[int, Shown]]()  # with the index of their first id
        self._snapshots = Snapshots(self._config)
        self._cache: Any = DynamicCache(config=self._config if self.recurrent else None)
        self._next_position = 0

    @property
    def recurrent(self) -> bool:
        return bool(self._snapshots.layers)

    def views(self, shown: Shown) -> Views:
        return self.grid.views(*self.grid.seen(*shown.size))

    def read(self, conversation: Rendered, images: Sequence[Shown]) -> "torch.Tensor":
        """Feed the new ids of a conversation: at least the last one, unless a snapshot has the logits after it.

        Returns:
            Logits of the next token, shape (vocabulary,).

        Raises:
            EngineError, SetupError: the model failed, or memory ran out; the conversation is forgotten.
        """
        placed_images = [(span.start, images[span.index]) for span in conversation.images]
        length, shared = len(conversation.ids), self._shared_prefix(conversation.ids, placed_images)
        positions = self._positions(conversation, images)
        logits = self._snapshots.logits(length) if shared == length else None
        if logits is None:  # then at least the last id has to be fed again
            shared = min(shared, length - 1)
        keep = self._cut(shared)
        if logits is None:
            new_images = [shown for start, shown in placed_images if start >= keep]
            logits = self._forward(conversation.ids[keep:], positions[..., keep:], new_images)
            self._snapshots.keep(self._cache, logits)
        self._cached_images = placed_images  # before the ids: an interrupt between the two does no harm
        self._cached_ids = list(conversation.ids)
        self._next_position = int(positions.max()) + 1
        return logits

    def append(self, token: int) -> "torch.Tensor":
        """Feed one more text id; returns the logits of the next token, shape (vocabulary,)."""
        import torch

        positions = torch.full((3, 1, 1) if self._rotary else (1, 1), self._next_position)
        logits = self._forward([token], positions, [])
        self._cached_ids.append(token)
        self._next_position += 1
        return logits

    def _shared_prefix(self, ids: list[int], placed_images: list[tuple[int, Shown]]) -> int:
        """Length of the common prefix of the cached ids and `ids`, with the same images in it."""
        pairs = enumerate(zip(self._cached_ids, ids, strict=False))
        shared = next((index for index, (old, new) in pairs if old != new), min(len(self._cached_ids), len(ids)))
        for (start, old), (_, new) in zip(self._cached_images, placed_images, strict=False):
            is_same = old is new or (old.size, old.pixels.tobytes()) == (new.size, new.pixels.tobytes())
            if start < shared and not is_same:
                return start
        return shared

    def _cut(self, keep: int) -> int:
        """Drop all but the first `keep` ids, in each layer: after an interrupt, layers have different lengths.

        Returns how many are kept: fewer if the last snapshot of the recurrent layers is older.
        """
        keep = self._snapshots.cut(self._cache, keep)
        self._cached_ids = self._cached_ids[:keep]
        self._cached_images = [(start, shown) for start, shown in self._cached_images if start < keep]
        if keep == 0:
            self.clear()
            return 0
        for number, layer in enumerate(self._cache.layers):
            if number not in self._snapshots.layers:
                layer.keys, layer.values = layer.keys[..., :keep, :], layer.values[..., :keep, :]
        return keep

    def _positions(self, conversation: Rendered, images: Sequence[Shown]) -> "torch.Tensor":
        """Positions of the whole conversation, shape (1, ids); rotary ones as the model computes them, (3, 1, ids)."""
        import torch

        if not self._rotary:
            return torch.arange(len(conversation.ids))[None]
        ids = torch.tensor([conversation.ids])
        is_image = (ids == self._config.image_token_id).int()
        merge, compute = self.grid.factor // self.processor.patch_size, self.network.model.get_rope_index
        name, time = (
            ("target_sizes", []) if "target_sizes" in signature(compute).parameters else ("image_grid_thw", [1])
        )
        pictures = [self.views(images[span.index]) for span in conversation.images]
        views = [view for picture in pictures for row in picture for view in row]
        grids = torch.tensor([[*time, rows * merge, columns * merge] for rows, columns in views])
        positions, _ = compute(ids, mm_token_type_ids=is_image, **{name: grids})
        return positions  # type: ignore[no-any-return]

    def _forward(self, ids: list[int], positions: "torch.Tensor", new_images: Sequence[Shown]) -> "torch.Tensor":
        import torch

        device, end = self.network.device, len(self._cached_ids) + len(ids)
        self._snapshots.position = None  # unknown until all layers have read the ids
        try:
            with torch.inference_mode():
                seen = self._patches(new_images)
                if new_images and self._types:
                    is_image = torch.tensor([[*self._cached_ids, *ids]]) == self._config.image_token_id
                    seen[self._types] = is_image.int().to(device)
                output = self.network(
                    torch.tensor([ids], device=device),
                    position_ids=positions.to(device),
                    use_cache=True,
                    logits_to_keep=1,
                    **{self._cache_name: self._cache},
                    **seen,
                )
        except RuntimeError as error:
            self.clear()
            raise _failure(error, len(ids)) from error
        self._snapshots.position = end
        self.tokens_fed += len(ids)
        self.vision_encodings += len(new_images)
        logits: torch.Tensor = output.logits[0, -1]
        if logits.isnan().any():
            self.clear()
            raise EngineError("the model's output is not a number: its weights are damaged or overflow")
        return logits

    def _patches(self, new_images: Sequence[Shown]) -> dict[str, "torch.Tensor"]:
        """Patches of the new images, and their grids (time, rows, columns), or their tiles; empty without images."""
        if not new_images:
            return {}
        pictures = [shown.pixels.resize(self.grid.seen(*shown.size), self.processor.resample) for shown in new_images]
        if isinstance(self.grid, Tiles):
            batch = self.processor(images=pictures, return_tensors="pt", **self._given)
            tiles = [self.grid.tiles(*picture.size) for picture in pictures]
            grids = batch.pop("grids", [])  # rows and columns of tiles, which the network takes from their marks
            cut = [count + (count > 1) for count in (int(math.prod(grid)) for grid in grids)]
            made = [int(count) or 1 for name in [*batch] if name.startswith("num_") for count in batch.pop(name)] or cut
            if made != tiles:
                raise EngineError(f"the image processor made {made} of {tiles} tiles")
            return dict(batch.to(self.network.device, self.network.dtype))
        patch = self.processor.patch_size
        grids = [[picture.height // patch, picture.width // patch] for picture in pictures]
        self.processor.max_num_patches = max(map(math.prod, grids))  # to which those of LFM2-VL are padded
        batch = self.processor(images=pictures, do_resize=False, return_tensors="pt")
        made = batch["image_grid_thw" if "image_grid_thw" in batch else "spatial_shapes"][:, -2:].tolist()
        if made != grids:
            raise EngineError(f"the image processor made {made} of {grids} patches")
        return {name: part.to(self.network.device) for name, part in batch.items()}


def _failure(error: RuntimeError, tokens: int) -> VircError:
    """The error of a network that failed on so many tokens.

    Releases the tensors in the frames of the error: the next try may need their memory.
    """
    traceback.clear_frames(error.__traceback__)
    allocation = memory_refused(error)
    if allocation is not None:
        return SetupError(f"out of memory while reading {tokens} tokens{allocation}", "lower «--max-pixels»")
    reason = str(error).strip().partition("\n")[0]
    return EngineError(f"the model failed: {reason}")


class Snapshot(NamedTuple):
    """The recurrent layers of a cache after `length` ids, by layer number, and the logits of the next id."""

    length: int
    layers: dict[int, Any]
    logits: "torch.Tensor"


class Snapshots:
    """Copies of the recurrent layers of one conversation's cache; empty for a model that has none.

    Only two are kept: of the first prompt, which samples share, and of the last one.

    Attributes:
        position: number of ids that the layers have read; None after an interrupted step, when layers differ.
    """

    def __init__(self, config: Any) -> None:
        kinds = getattr(config.get_text_config(), "layer_types", None) or ()
        self.layers = tuple(number for number, kind in enumerate(kinds) if kind in ("linear_attention", "conv"))
        self.position: int | None = 0
        self._snapshots: list[Snapshot] = []

    def logits(self, length: int) -> "torch.Tensor | None":
        """Logits of the id after a prompt of that length; None if there is no snapshot."""
        return next((each.logits for each in self._snapshots if each.length == length), None)

    def keep(self, cache: Any, logits: "torch.Tensor") -> None:
        if self.layers and self.position:
            layers = {number: copy.deepcopy(cache.layers[number]) for number in self.layers}
            self._snapshots = [*self._snapshots[:1], Snapshot(self.position, layers, logits)]

    def cut(self, cache: Any, length: int) -> int:
        """Restore the layers after `length` ids, or else after the longest shorter prompt with a snapshot.

        Returns how many ids they have then read; 0: the whole conversation has to be fed again.
        """
        if not self.layers:
            return length
        self._snapshots = [each for each in self._snapshots if each.length <= length]
        if self.position == length:
            return length
        if not self._snapshots:
            return 0
        self.position = None
        for number, layer in self._snapshots[-1].layers.items():
            cache.layers[number] = copy.deepcopy(layer)
        self.position = self._snapshots[-1].length
        return self.position
