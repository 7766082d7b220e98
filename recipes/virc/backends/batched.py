"""Conversations of several threads in one batch: each draws as if alone, and the network feeds them together.

Every thread has a slot, a row of one KV cache that keeps its conversation as `CachedModel` keeps one. A step is taken
when all who draw wait for one; who is between two turns is not waited for.
"""

import math
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import msgspec

from virc.backends.devices import memory_refused
from virc.backends.kv_cache import CachedModel, failed, not_finite
from virc.reasoning.images import Shown

if TYPE_CHECKING:
    import torch

_COLUMNS = 256  # by which the cache grows
_HINT = "lower --concurrency or --max-pixels"
_SHARE = 4  # reads wait until they are one row in so many: a small one costs hardly less than eight


class Piece(msgspec.Struct, frozen=True, eq=False):
    """What is new in one conversation.

    Args:
        slot: of the reply.
        start: ids that its row of the cache holds, and keeps.
        ids: at least one.
        positions: rotary positions of the ids, shape (3, 1, ids).
        patches: of the images among them, as the network takes them; empty without images.
        found: gets the logits of the next token, shape (vocabulary,), or what went wrong.
    """

    slot: "BatchSlot"
    start: int
    ids: list[int]
    positions: "torch.Tensor"
    patches: dict[str, "torch.Tensor"]
    found: "SimpleQueue[torch.Tensor | BaseException]"


class BatchSlot(CachedModel):
    """The conversation of one thread, in the row `number` of the cache of all."""

    def __init__(self, batch: "Batch", number: int) -> None:
        model = batch.model
        super().__init__(model.network, model.processor, model.grid)
        self.number = number
        self._batch = batch

    def _forward(self, ids: list[int], positions: "torch.Tensor", new_images: Sequence[Shown]) -> "torch.Tensor":
        try:
            patches = self._patches(new_images)
        except RuntimeError as error:
            self.clear()
            raise failed(error, len(ids), _HINT) from error
        logits = self._batch.feed(Piece(self, len(self._cached_ids), ids, positions, patches, SimpleQueue()))
        if isinstance(logits, BaseException):
            self.clear()
            raise logits
        self.tokens_fed += len(ids)
        self.vision_encodings += len(new_images)
        return logits


class Batch:
    """The slots of a model and its steps.

    Steps are taken in a thread of their own: torch keeps a pool of threads for every thread that computes.

    Args:
        model: its network, image processor and grid are used, not its own conversation.
    """

    def __init__(self, model: CachedModel) -> None:
        self.model = model
        self._cache = RowCache()
        self._here = threading.local()
        self._slots: WeakSet[BatchSlot] = WeakSet()
        self._lock = threading.Lock()
        self._drawing = 0
        self._waiting: list[Piece] = []
        self._steps = ThreadPoolExecutor(1, "batch")
        self._most_ids: float = math.inf

    @contextmanager
    def slot(self) -> Iterator[BatchSlot]:
        slot = self._own_slot()
        with self._lock:
            self._drawing += 1
        try:
            yield slot
        finally:
            with self._lock:
                self._drawing -= 1
                self._waiting = [piece for piece in self._waiting if piece.slot is not slot]
                self._advance()

    def feed(self, piece: Piece) -> "torch.Tensor | BaseException":
        with self._lock:
            self._waiting.append(piece)
            self._advance()
        return piece.found.get()

    def _own_slot(self) -> BatchSlot:
        """A thread has the lowest row that is free, for as long as it lives."""
        if not hasattr(self._here, "slot"):
            with self._lock:
                taken = {slot.number for slot in self._slots}
                self._here.slot = BatchSlot(self, next(number for number in count() if number not in taken))
                self._slots.add(self._here.slot)
        slot: BatchSlot = self._here.slot
        return slot

    def _advance(self) -> None:
        if self._waiting and len(self._waiting) == self._drawing:
            group = _next(self._waiting)
            self._waiting = [piece for piece in self._waiting if piece not in group]
            self._steps.submit(self._step, group)

    def _step(self, group: Sequence[Piece]) -> None:
        """Feed pieces, together or else fewer at a time, so that what one cannot do costs it alone.

        Where memory does not suffice for a group, its halves are fed; groups after it have no more ids than those.
        """
        waiting = [group]
        while waiting:
            part = waiting.pop()
            if len(part) > 1 and _fed(part) > self._most_ids:
                waiting += _halves(part)
                continue
            try:
                found = self._logits(part)
            except Exception as error:
                failure = failed(error, len(part[0].ids), _HINT) if isinstance(error, RuntimeError) else error
                short = memory_refused(error) is not None
            else:
                for piece, logits in zip(part, found, strict=True):
                    piece.found.put(logits)
                continue
            # Behind the handler, where nothing holds the failed step's tensors any more.
            if len(part) == 1:
                self._cache.wipe(part[0].slot.number)
                part[0].found.put(failure)
            elif short:
                self._most_ids = min(self._most_ids, _fed(part) // 2)
                waiting += _halves(part)
            else:
                waiting += [[piece] for piece in part]

    def _logits(self, group: Sequence[Piece]) -> list["torch.Tensor | BaseException"]:
        import torch

        network = self.model.network
        with torch.inference_mode():
            rows, inputs = self._inputs(group)
            hidden = network.model(**inputs, past_key_values=self._cache, use_cache=True).last_hidden_state
            places = [rows.index(piece.slot.number) for piece in group]
            last = hidden[places, [len(piece.ids) - 1 for piece in group]]
            logits = network.lm_head(last)
            spoiled = logits.isnan().any(-1).nonzero()[:, 0].tolist()
            found: list[torch.Tensor | BaseException] = list(logits.cpu())
            for at in spoiled:
                self._cache.wipe(group[at].slot.number)
                found[at] = not_finite()
            return found

    def _inputs(self, group: Sequence[Piece]) -> tuple[list[int], dict[str, Any]]:
        """Rows of the cache, and what the network takes for them, padded on the right."""
        import torch
        from torch.nn.functional import pad

        width = max(len(piece.ids) for piece in group)
        pieces = {piece.slot.number: piece for piece in group}
        rows = _rows(list(pieces), width)
        fed = [pieces.get(row) for row in rows]
        starts = [piece.start if piece else self._cache.ends.get(row, 0) for row, piece in zip(rows, fed, strict=True)]
        ids = [piece.ids + [0] * (width - len(piece.ids)) if piece else [0] * width for piece in fed]
        nowhere = torch.zeros(3, 1, width, dtype=torch.long)
        positions = [pad(p.positions, (0, width - len(p.ids))) if p else nowhere for p in fed]
        patches = [piece.patches for piece in group if piece.patches]
        device = self.model.network.device
        seen = self._cache.aim(rows, starts, width, device)
        for piece in group:
            self._cache.ends[piece.slot.number] = piece.start + len(piece.ids)
        return rows, {
            "input_ids": torch.tensor(ids, device=device),
            "position_ids": torch.cat(positions, 1).to(device),
            "attention_mask": None if seen is None else _mask(seen, self.model.network.dtype),
            **{name: torch.cat([each[name] for each in patches]) for name in (patches[0] if patches else ())},
        }


class RowCache:
    """Keys and values of all rows, as the network's layers ask for them.

    Attributes:
        ends: for every row, the column behind all that was written to it.
    """

    def __init__(self) -> None:
        self.ends: dict[int, int] = {}
        self._layers: list[list[torch.Tensor]] = []
        self._shape = (0, 0)

    def aim(self, rows: list[int], starts: list[int], width: int, device: "torch.device") -> "torch.Tensor | None":
        """Set where the next step writes and what it reads.

        Row `rows[i]` gets `width` new ids from column `starts[i]` on. Returns which columns each of them sees, shape
        (rows, width, columns); None if they see all before them and themselves, as in any network: attention
        without a mask is faster.
        """
        import torch

        end = max(starts) + width
        self._make_room(max(rows) + 1, end)
        first = torch.tensor(starts, device=device)[:, None]
        self._rows = torch.tensor(rows, device=device)[:, None]
        self._columns = first + torch.arange(width, device=device)
        # a slice is read where it stands, rows by their numbers are copied
        self._first, self._width = end == width, width
        whole = rows == list(range(len(rows)))
        self._read = (slice(0, len(rows)) if whole else self._rows[:, 0], slice(None), slice(0, end))
        return None if self._first else torch.arange(end, device=device) <= self._columns[..., None]

    def get_mask_sizes(self, *_: Any, **__: Any) -> tuple[int, int]:
        """Columns and the first of them, for a step without a mask."""
        return self._width, 0

    def get_seq_length(self, *_: Any, **__: Any) -> int:
        """Columns before the new ids, for a step without a mask."""
        return 0

    get_query_offset = get_seq_length

    def update(
        self, keys: "torch.Tensor", values: "torch.Tensor", layer: int, *_: Any, **__: Any
    ) -> tuple["torch.Tensor", "torch.Tensor"]:
        """Write what a layer made of the new ids and return all it sees, each (rows, heads, columns, dimensions)."""
        if layer == len(self._layers):
            self._layers.append([self._zeros(keys), self._zeros(values)])
        held_keys, held_values = self._layers[layer]
        held_keys[self._rows, :, self._columns] = keys.transpose(1, 2)
        held_values[self._rows, :, self._columns] = values.transpose(1, 2)
        return (keys, values) if self._first else (held_keys[self._read], held_values[self._read])

    def wipe(self, row: int) -> None:
        """Forget a row: something that is no number would spoil what comes into it, though masked."""
        import torch

        self.ends[row] = 0
        with torch.inference_mode():
            for layer in self._layers:
                for held in layer:
                    held[row : row + 1] = 0

    def _make_room(self, rows: int, columns: int) -> None:
        self._shape = (max(rows, self._shape[0]), max(-(-columns // _COLUMNS) * _COLUMNS, self._shape[1]))
        for layer in self._layers:
            for index, held in enumerate(layer):
                old_rows, _, old_columns, _ = held.shape
                if (old_rows, old_columns) != self._shape:
                    layer[index] = self._zeros(held)
                    layer[index][:old_rows, :, :old_columns] = held

    def _zeros(self, like: "torch.Tensor") -> "torch.Tensor":
        rows, columns = self._shape
        return like.new_zeros(rows, like.shape[1], columns, like.shape[3])


def _mask(seen: "torch.Tensor", dtype: "torch.dtype") -> "torch.Tensor":
    """What is added to attention, of that dtype, shape (rows, 1, width, columns)."""
    import torch

    return torch.zeros(seen.shape, device=seen.device, dtype=dtype).masked_fill(~seen, torch.finfo(dtype).min)[:, None]


def _next(waiting: Sequence[Piece]) -> list[Piece]:
    """The pieces to feed now: those of one id, or once enough have come some of about one length."""
    reads = [piece for piece in waiting if len(piece.ids) > 1]
    if _SHARE * len(reads) < len(waiting):
        return [piece for piece in waiting if len(piece.ids) == 1]
    first = len(reads[0].ids)
    return [piece for piece in reads if first <= 2 * len(piece.ids) and len(piece.ids) <= 2 * first]


def _fed(group: Sequence[Piece]) -> int:
    return len(group) * max(len(piece.ids) for piece in group)


def _halves(group: Sequence[Piece]) -> list[Sequence[Piece]]:
    middle = len(group) // 2
    return [group[middle:], group[:middle]]


def _rows(numbers: list[int], width: int) -> list[int]:
    """Rows to compute: those, or all to the last of them if that is less work than to copy them."""
    everyone = list(range(max(numbers) + 1))
    return everyone if width == 1 < len(numbers) and 2 * len(numbers) >= len(everyone) else numbers
