"""How many tokens a prompt of RL has, images included, counted without torch: those that our agent loop feeds."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec

from virc.backends.chatml import render
from virc.backends.checkpoint import image_grid, image_settings, read_json
from virc.backends.tokenizer import tokenizer
from virc.core.errors import DataError
from virc.core.text import clause
from virc.data.rows.record import Record, images_of, inputs_of, message_of
from virc.reasoning.calls import Size
from virc.reasoning.history import input_grid
from virc.reasoning.images import SQUARE, stored
from virc.reasoning.protocol import Protocol
from virc.reasoning.resize import QWEN2, smart_resize
from virc.training.lengths.counted import BaseCounting, Length, Text


class Counting(BaseCounting, frozen=True):
    """What lengths depend on; the chat protocol says how the question's images are shown. None: as the base is."""

    protocol: Protocol | None = None

    @property
    def square(self) -> bool:
        """Whether the question's images are shown at 1000 x 1000 px."""
        return self.protocol is not None and self.protocol.images == "square_1000"


def counting(base: Path, max_pixels: int) -> Counting:
    """Read what lengths depend on from a base's folder; `ConfigError` where a file of it is missing or invalid."""
    tokenizer(base)
    model_type = str(read_json(base / "config.json").get("model_type"))
    return Counting(base, model_type, image_grid(image_settings(base), max_pixels))


def lengths(counting: Counting, rows: Sequence[Text]) -> list[Length]:
    """The length of each prompt. `shrunk` are images that are shown at another size than a chat protocol announces."""
    return [_length(counting, row) for row in rows]


def shown(size: Size, counting: Counting, is_input: bool = True) -> Size:
    """(width, height) in px at which an image of a file of that size is fed; `ValueError` where it cannot be."""
    if counting.protocol is None or not is_input:
        return smart_resize(*size, counting.grid)
    return smart_resize(*(SQUARE if counting.square else size), input_grid(counting.protocol, counting.grid))


def _length(counting: Counting, row: Text) -> Length:
    try:
        files = [_size(file) for file in row.files if isinstance(file, str)]
        inputs = set(inputs_of(Record(row.messages)))
        sizes = [shown(size, counting, index in inputs) for index, size in enumerate(files)]
    except (ValueError, DataError) as error:
        return Length(fault=error.message if isinstance(error, DataError) else clause(error))
    # The reference, which a row of one unit ends with where it is known, is no part of the prompt.
    prompt = row.messages[:-1] if row.messages[-1].role == "assistant" else row.messages
    messages = [message_of(message, images) for message, images in zip(prompt, images_of(Record(prompt)), strict=True)]
    per_image = [width * height // counting.grid.factor**2 for width, height in sizes]
    tokens = len(render(messages, per_image, _plain(counting.base), generate=True).ids)
    whole = msgspec.structs.replace(counting, grid=QWEN2)
    announced = [shown(size, whole, index in inputs) for index, size in enumerate(files)]
    other = sum(one != two for one, two in zip(sizes, announced, strict=True))
    return Length(tokens, len(sizes), 0 if counting.square else other)


def _plain(base: Path) -> Any:
    """The tokenizer of a base, to which names of special tokens are ordinary text, as to `render`'s."""
    return SimpleNamespace(encode=lambda text, **_: _ids(base, text), convert_tokens_to_ids=tokenizer(base).token_to_id)


@lru_cache(4096)
def _ids(base: Path, text: str) -> list[int]:
    """Kept, as the units of one solution share all messages but the last."""
    spoken = tokenizer(base)
    spoken.encode_special_tokens = True
    return list(spoken.encode(text, add_special_tokens=False).ids)


@lru_cache(2**16)
def _size(file: str) -> Size:
    return stored(Path(file), file).size
