"""The record of a published pair, by the layout that says which of its columns is what."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from virc.core.errors import DataError
from virc.core.text import plain
from virc.data.rows import laid_out
from virc.data.rows.record import MARK, Message, Record
from virc.reasoning.protocol import Protocol
from virc.systems.layouts.layout import Column, Layout, names_of, shown

_TURNS = "messages"


def record_of(row: Mapping[str, Any], layout: Layout, folder: Path, protocol: Protocol | None) -> Record:
    """The pair of a row of a file in `folder`: the turns that both replies follow, the better and the worse one.

    Images without a mark are shown before the text of the first user, as TRL does.
    """
    sides = (layout.chosen, layout.rejected)
    asks = layout.question if layout.messages is None else layout.messages
    (before, chosen), (before_other, rejected) = (
        _side(laid_out.present(row, side), side) for side in sides if side is not None
    )
    written = before if asks is None else _turns(laid_out.present(row, asks))
    if asks is None and not before:
        raise DataError("its replies have no turns before them, and no column has those")
    for repeated in (before, before_other):
        if (repeated or asks is None) and _texts(repeated) != _texts(written):
            raise DataError("its two replies do not follow the same turns")
    turns = _marked(written, _images(row, layout))
    columns = (*layout.replies(), *(() if asks is None else (asks,)))
    named = {name for column in columns for name in names_of(column)}
    others = {key: value for key, value in row.items() if key not in named}
    alone = msgspec.structs.replace(layout, question=None, messages=_TURNS, chosen=None, rejected=None)
    record = laid_out.record_of(others | {_TURNS: turns}, alone, folder, None)
    messages = (*record.messages, Message("assistant", chosen))
    return msgspec.structs.replace(record, messages=messages, rejected=rejected)


def _turns(value: Any) -> Any:
    """The turns as a list where they are one message, or the text of the user alone."""
    if isinstance(value, str) and not value.lstrip().startswith("["):
        return [{"role": "user", "content": value}]
    return [value] if isinstance(value, dict) else value


def _images(row: Mapping[str, Any], layout: Layout) -> int:
    value = None if layout.images is None else laid_out.present(row, layout.images)
    return len(value) if isinstance(value, list) else int(value is not None)


def _marked(turns: Any, images: int) -> Any:
    """The turns, with marks for all images before the first text of the user where no turn shows an image."""
    if not isinstance(turns, list) or not all(isinstance(turn, dict) for turn in turns):
        return turns  # which the reader of conversations refuses
    messages = [laid_out.message_of(turn, number) for number, turn in enumerate(turns, 1)]
    first = next((at for at, message in enumerate(messages) if message.role == "user"), None)
    if first is None or any(MARK in message.content for message in messages):
        return turns
    shown_first = {"role": "user", "content": MARK * images + messages[first].content}
    return [*turns[:first], shown_first, *turns[first + 1 :]]


def _texts(turns: Any) -> Any:
    if not isinstance(turns, list) or not all(isinstance(turn, dict) for turn in turns):
        return turns
    return [laid_out.message_of(turn, number) for number, turn in enumerate(turns, 1)]


def _side(value: Any, column: Column) -> tuple[list[Any], str]:
    """One side, which is a text, a message of the assistant, or a list: the turns before its last message, and that."""
    named = f"its column {plain(shown(column), 60)}"
    before: list[Any] = []
    if isinstance(value, list):
        if not value:
            raise DataError(f"{named} is an empty list, and a reply is due")
        *before, value = value
    if isinstance(value, str):
        return before, value
    if not isinstance(value, dict):
        raise DataError(f"{named} is no reply: a text, a message, or a list that ends with one")
    message = laid_out.message_of(value, len(before) + 1)
    if message.role != "assistant":
        raise DataError(f"{named} ends with a message of {message.role}, and the assistant is due")
    return before, message.content
