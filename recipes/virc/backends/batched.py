"""Conversations of several threads in one batch: each draws as if alone, and the network reads them together.

Every thread has a `BatchSlot`, whose conversation is a row of one KV cache (`RowCache`). What is new in it is a
`Piece`, which the thread gives to `Batch.feed`. When all threads that draw a reply wait there, `Batch._step` has the
network read some of their pieces; threads that are between two replies are not waited for.
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
_SHARE = 4  # prompts wait until they are one piece in so many: to read one costs hardly less than to read eight


class Piece(msgspec.Struct, frozen=True, eq=False):
    """What is new in one conversation."""

    slot: "BatchSlot"  # whose conversation it is
    start: int  # how many ids the slot's row of the cache holds already, and keeps
    ids: list[int]  # the new ones, at least one: the last id drawn, or (part of) a prompt
    positions: "torch.Tensor"  # rotary positions of the ids, shape (3, 1, ids)
    patches: dict[str, "torch.Tensor"]  # of the images among them, as the network takes them; empty without images
    result: "SimpleQueue[torch.Tensor | BaseException]"  # gets the logits of the next token, (vocabulary,), or an error


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
        self._of_thread = threading.local()
        self._slots: WeakSet[BatchSlot] = WeakSet()
        self._lock = threading.Lock()
        self._drawing = 0
        self._waiting: list[Piece] = []
        self._steps = ThreadPoolExecutor(1, "batch")
        self._most_ids: float = math.inf

    @contextmanager
    def slot(self) -> Iterator[BatchSlot]:
        slot = self._slot_of_thread()
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
        """Wait until a step has read a piece; return the logits of the next token, or what went wrong."""
        with self._lock:
            self._waiting.append(piece)
            self._advance()
        return piece.result.get()

    def _slot_of_thread(self) -> BatchSlot:
        """A thread has the lowest row that is free, for as long as it lives."""
        if not hasattr(self._of_thread, "slot"):
            with self._lock:
                taken = {slot.number for slot in self._slots}
                self._of_thread.slot = BatchSlot(self, next(number for number in count() if number not in taken))
                self._slots.add(self._of_thread.slot)
        slot: BatchSlot = self._of_thread.slot
        return slot

    def _advance(self) -> None:
        """Begin a step if all threads that draw wait for one."""
        if self._waiting and len(self._waiting) == self._drawing:
            group = _next_group(self._waiting)
            self._waiting = [piece for piece in self._waiting if piece not in group]
            self._steps.submit(self._step, group)

    def _step(self, group: Sequence[Piece]) -> None:
        """Have the network read pieces, together if it can, else fewer at a time, so that only the faulty one fails.

        If memory does not suffice for a group, its halves are read, and later groups are no larger than those.
        """
        waiting = [group]
        while waiting:
            part = waiting.pop()
            if len(part) > 1 and _padded_ids(part) > self._most_ids:
                waiting += _halves(part)
                continue
            try:
                results = self._logits(part)
            except Exception as error:
                failure = failed(error, len(part[0].ids), _HINT) if isinstance(error, RuntimeError) else error
                is_out_of_memory = memory_refused(error) is not None
            else:
                for piece, logits in zip(part, results, strict=True):
                    piece.result.put(logits)
                continue
            # Outside of the handler, nothing holds the failed step's tensors any more.
            if len(part) == 1:
                self._cache.wipe(part[0].slot.number)
                part[0].result.put(failure)
            elif is_out_of_memory:
                self._most_ids = min(self._most_ids, _padded_ids(part) // 2)
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
            results: list[torch.Tensor | BaseException] = list(logits.cpu())
            for index in spoiled:
                self._cache.wipe(group[index].slot.number)
                results[index] = not_finite()
            return results

    def _inputs(self, group: Sequence[Piece]) -> tuple[list[int], dict[str, Any]]:
        """Rows of the cache, and what the network takes for them, padded on the right."""
        import torch
        from torch.nn.functional import pad

        width = max(len(piece.ids) for piece in group)
        pieces = {piece.slot.number: piece for piece in group}
        rows = _rows_to_compute(list(pieces), width)
        of_row = [pieces.get(row) for row in rows]  # None: a row that is computed for nothing
        starts = [p.start if p else self._cache.ends.get(row, 0) for row, p in zip(rows, of_row, strict=True)]
        ids = [piece.ids + [0] * (width - len(piece.ids)) if piece else [0] * width for piece in of_row]
        nowhere = torch.zeros(3, 1, width, dtype=torch.long)
        positions = [pad(p.positions, (0, width - len(p.ids))) if p else nowhere for p in of_row]
        patches = [piece.patches for piece in group if piece.patches]
        device = self.model.network.device
        seen = self._cache.plan_step(rows, starts, width, device)
        for piece in group:
            self._cache.ends[piece.slot.number] = piece.start + len(piece.ids)
        return rows, {
            "input_ids": torch.tensor(ids, device=device),
            "position_ids": torch.cat(positions, 1).to(device),
            "attention_mask": None if seen is None else _mask(seen, self.model.network.dtype),
            **{name: torch.cat([each[name] for each in patches]) for name in (patches[0] if patches else ())},
        }


class RowCache:
    """Keys and values of all conversations: a row each, with a column for each of its ids.

    It is the `past_key_values` of transformers: layers call `update` and the `get_*` methods.

    Attributes:
        ends: row -> how many columns were written to.
    """

    def __init__(self) -> None:
        self.ends: dict[int, int] = {}
        self._layers: list[list[torch.Tensor]] = []
        self._shape = (0, 0)

    def plan_step(
        self, rows: list[int], starts: list[int], width: int, device: "torch.device"
    ) -> "torch.Tensor | None":
        """Set where the next step writes and what it reads.

        Row `rows[i]` gets `width` new ids from column `starts[i]` on. Returns which columns each of them attends to,
        shape (rows, width, columns); None if all rows were empty, so that no mask is needed, which is faster.
        """
        import torch

        end = max(starts) + width
        self._make_room(max(rows) + 1, end)
        first = torch.tensor(starts, device=device)[:, None]
        self._rows = torch.tensor(rows, device=device)[:, None]
        self._columns = first + torch.arange(width, device=device)
        self._starts_empty, self._width = end == width, width
        # To index by a slice copies nothing; to index by row numbers copies the rows.
        whole = rows == list(range(len(rows)))
        self._visible = (slice(0, len(rows)) if whole else self._rows[:, 0], slice(None), slice(0, end))
        return None if self._starts_empty else torch.arange(end, device=device) <= self._columns[..., None]

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
        """Write a layer's keys and values of the new ids; return all it attends to: (rows, heads, columns, width)."""
        if layer == len(self._layers):
            self._layers.append([self._zeros(keys), self._zeros(values)])
        held_keys, held_values = self._layers[layer]
        held_keys[self._rows, :, self._columns] = keys.transpose(1, 2)
        held_values[self._rows, :, self._columns] = values.transpose(1, 2)
        return (keys, values) if self._starts_empty else (held_keys[self._visible], held_values[self._visible])

    def wipe(self, row: int) -> None:
        """Set a row to 0: what is no number would spoil later attention to the row, even where it is masked."""
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


def _next_group(waiting: Sequence[Piece]) -> list[Piece]:
    """The pieces for the next step: those of one id, or if enough prompts wait, prompts of about one length."""
    reads = [piece for piece in waiting if len(piece.ids) > 1]
    if _SHARE * len(reads) < len(waiting):
        return [piece for piece in waiting if len(piece.ids) == 1]
    first = len(reads[0].ids)
    return [piece for piece in reads if first <= 2 * len(piece.ids) and len(piece.ids) <= 2 * first]


def _padded_ids(group: Sequence[Piece]) -> int:
    """How many ids a step computes for a group, padding included."""
    return len(group) * max(len(piece.ids) for piece in group)


def _halves(group: Sequence[Piece]) -> list[Sequence[Piece]]:
    middle = len(group) // 2
    return [group[middle:], group[:middle]]


def _rows_to_compute(numbers: list[int], width: int) -> list[int]:
    """Rows to compute: those, or all up to the last of them if that is less work than to copy their caches."""
    all_rows = list(range(max(numbers) + 1))
    is_dense = len(numbers) > 1 and 2 * len(numbers) >= len(all_rows)
    return all_rows if width == 1 and is_dense else numbers
