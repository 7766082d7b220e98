"""The record of a published pair, by the layout that says which of its columns is what."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from virc.core.errors import DataError
from virc.core.text import plain
from virc.data.rows import laid_out
from virc.data.rows.record import MARK, Message, Record
from virc.systems.layouts.layout import Column, Layout, names_of, shown

_TURNS = "messages"


def record_of(row: Mapping[str, Any], layout: Layout, folder: Path) -> Record:
    """The record of a pair of a file in `folder`: the turns that both replies follow, the chosen and the rejected one.

    Images without a mark are shown before the text of the first user, as TRL does.

    Raises:
        DataError: a column is missing, or holds something else than its field.
    """
    asks = layout.question if layout.messages is None else layout.messages
    columns = [column for column in (layout.chosen, layout.rejected, asks) if column is not None]
    chosen, rejected = (_reply(laid_out.present(row, column), column) for column in columns[:2])
    named = {name for column in columns for name in names_of(column)}
    turns = _marked(_turns(laid_out.present(row, columns[2])), _images(row, layout))
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
    """How many images a row has in a column of their own."""
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


def _reply(value: Any, column: Column) -> str:
    """The text of one side: a text, a message of the assistant, or a list of one such message."""
    named = f"its column {plain(shown(column), 60)}"
    if isinstance(value, list):
        if len(value) != 1:
            raise DataError(f"{named} has {len(value)} messages, where one reply is due")
        (value,) = value
    if isinstance(value, str):
        return value
    if not isinstance(value, dict):
        raise DataError(f"{named} is no reply: a text, a message, or a list of one message")
    message = laid_out.message_of(value, 1)
    if message.role != "assistant":
        raise DataError(f"{named} is a message of {message.role}, where the assistant is due")
    return message.content
