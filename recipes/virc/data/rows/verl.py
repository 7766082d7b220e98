"""Rows as verl's dataset class reads them, and the record of each: the columns of RL files and of prompts.

A row's record has the messages of its prompt, then the reference reply where it is known; `extra` has the number of
the turn and the tool that the reference calls.
"""

import json
import math
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from virc.core.errors import DataError, errors_as
from virc.core.json_stream import MAX_DEPTH, one_line
from virc.data.rows.record import MARK, SIDES, Message, Picture, Record

OF_ROW = ("turn", "tool_info_gt", "index")
"""Fields of `extra` that belong to one row, not to its problem."""
LABELS = {"data_source": "virc", "ability": "math", "style": "rule"}
"""Columns that every row must have, and their values where a record has no field of that name."""
_OBJECTS = ("extra_info", "reward_model")
_Kind = TypeVar("_Kind", dict[str, Any], list[Any])


def schema(embed: bool, turns: bool) -> Any:
    """The columns, as a pyarrow schema: images are bytes (`embed`) or names; rows are single `turns` or prompts."""
    import pyarrow as pa  # type: ignore[import-untyped, unused-ignore]

    text = pa.string()
    message = pa.struct([("role", text), ("content", text)])
    image = pa.struct([("bytes", pa.binary()), ("path", text)] if embed else [("image", text)])
    info = [
        ("index", pa.int64()), ("question", text), ("images", pa.list_(image)), ("prompt", pa.list_(message)),
        ("id", text), ("id_is_int", pa.bool_()), ("extra", text),
    ]  # fmt: skip
    if turns:
        info += [("tool_info_gt", pa.struct([("name", text)])), ("turn", pa.int64()), ("reference", text)]
    return pa.schema(
        [
            ("data_source", text),
            ("prompt", pa.list_(message)),
            ("images", pa.list_(image)),
            ("ability", text),
            ("reward_model", pa.struct([("style", text), ("ground_truth", text)])),
            ("extra_info", pa.struct(info)),
        ]
    )


def fields_of(record: Record, index: int, images: list[dict[str, Any]], turns: bool) -> dict[str, Any]:
    """The row of a record; its last message, where the assistant's, is the reference.

    `index` is the row's number, from 0; `images` are as in the row, `turns` as in `schema`.
    """
    known = turns and record.messages[-1].role == "assistant"
    messages = record.messages[:-1] if known else record.messages
    prompt = [{"role": each.role, "content": each.content} for each in messages]
    carried = of_problem(record)
    with errors_as(DataError, "a field cannot be JSON", caught=ValueError):
        extra = one_line(carried)
    labels = {key: value if isinstance(value := carried.get(key), str) else LABELS[key] for key in LABELS}
    info: dict[str, Any] = {
        "index": index, "question": record.question, "images": images, "prompt": prompt,
        "id": None if record.id is None else str(record.id), "id_is_int": isinstance(record.id, int),
        "extra": extra,
    }  # fmt: skip
    if turns:
        tool = record.extra.get("tool_info_gt")
        info |= {
            "tool_info_gt": {"name": tool["name"]} if tool else None,
            "turn": record.extra["turn"],
            "reference": record.messages[-1].content if known else "",
        }
    return {
        "data_source": labels["data_source"], "prompt": prompt, "images": images, "ability": labels["ability"],
        "reward_model": {"style": labels["style"], "ground_truth": record.answer}, "extra_info": info,
    }  # fmt: skip


def of_problem(record: Record) -> dict[str, Any]:
    return {key: value for key, value in record.extra.items() if key not in OF_ROW}


def record_of(fields: Mapping[str, Any], folder: Path) -> Record:
    rest = dict(fields)
    info, model = (dict(_parsed(rest.pop(name, None), name, dict, "an object")) for name in _OBJECTS)
    messages = _messages(rest.pop("prompt", None) or info.get("prompt"))
    images = rest.pop("images", None)
    shown = _parsed(info.get("images") if images is None else images, "images", list, "a list")
    pictures = tuple(_picture(image, number, folder) for number, image in enumerate(shown))
    reference = _text(info.pop("reference", None), "extra_info.reference")
    turn, tool = info.pop("turn", None), _tool(info.pop("tool_info_gt", None))
    if reference:
        messages += (Message("assistant", reference),)
    answer = model.pop("ground_truth", None)
    units = sum(message.role == "assistant" for message in messages) - bool(reference)
    return Record(
        messages,
        pictures,
        _id(info.pop("id", None), info.pop("id_is_int", None)),
        _text(info.pop("question", None), "extra_info.question"),
        answer if answer is None or isinstance(answer, str) else json.dumps(_plain(answer), ensure_ascii=False),
        {"turn": turn if type(turn) is int else units, "tool_info_gt": tool} | _carried(rest, info, model),
    )


def flaws_of(fields: Mapping[str, Any]) -> tuple[str, ...]:
    """What verl would fail on in the fields of a readable row."""
    info, prompt, shown = fields.get("extra_info"), fields.get("prompt"), fields.get("images")
    images = shown if isinstance(shown, list) else []
    lists = {"prompt": isinstance(prompt, list), "images": isinstance(shown, list | None)}
    faults = {f"{name} is no list: verl stops at it": not fine for name, fine in lists.items()}
    faults |= {
        f"{name} is text, not an object: verl stops at it": isinstance(fields.get(name), str) for name in _OBJECTS
    }
    faults |= {
        "prompt has image marks, and images is empty: verl shows no image": not shown and MARK in str(prompt),
        "an image is neither an object nor a name: verl stops at it": not all(
            isinstance(image, dict | str) for image in images
        ),
        "an image has a path, but neither bytes nor image: verl cannot open it": any(
            isinstance(image, dict) and not image.get("bytes") and not image.get("image") for image in images
        ),
        "extra_info.prompt is not the prompt: the reward judges another conversation": isinstance(info, dict)
        and info.get("prompt") not in (None, prompt),
        "there is no data_source: verl's reward stops at it": not fields.get("data_source"),
    }
    return tuple(fault for fault, found in faults.items() if found)


def _carried(rest: dict[str, Any], info: dict[str, Any], model: dict[str, Any]) -> dict[str, Any]:
    """The fields that pass through; of a row that virc wrote, those of its record and what others added or changed."""
    for key in ("images", "prompt"):
        info.pop(key, None)
    if model.get("style") == LABELS["style"]:
        del model["style"]
    try:
        own = json.loads(info["extra"])
    except (KeyError, TypeError, ValueError, RecursionError):
        own = None
    if not isinstance(own, dict):
        return plain_fields(rest | model | info)
    del info["extra"]
    info.pop("index", None)
    changed = {key: value for key, value in (rest | model).items() if value != LABELS.get(key)}
    return plain_fields(own | changed | info)


def plain_fields(fields: Mapping[str, Any], depth: int = 0) -> dict[str, Any]:
    kept = {key: value for key, value in fields.items() if not isinstance(value, bytes)}
    return {str(key): _plain(value, depth + 1) for key, value in kept.items()}


def _plain(value: Any, depth: int = 0) -> Any:
    """The value as JSON can hold it: dates and decimals as text, NaN and infinity as null, without bytes."""
    if depth > MAX_DEPTH:
        raise DataError("it is nested too deeply")
    if isinstance(value, dict):
        return plain_fields(value, depth)
    if isinstance(value, list | tuple):
        return [_plain(item, depth + 1) for item in value if not isinstance(item, bytes)]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, str | int) else str(value)


def _parsed(value: Any, name: str, kind: type[_Kind], noun: str) -> _Kind:
    if isinstance(value, str):
        with errors_as(DataError, f"{name} is not JSON", caught=(ValueError, RecursionError)):
            value = json.loads(value)
    if value is not None and not isinstance(value, kind):
        raise DataError(f"{name} is not {noun}")
    return kind() if value is None else value


def _messages(value: Any) -> tuple[Message, ...]:
    turns = _parsed(value, "prompt", list, "a list")
    with errors_as(DataError, "prompt is not a list of messages", caught=msgspec.ValidationError):
        messages = msgspec.convert(turns, tuple[Message, ...])
    if any(SIDES[each.role] != each.role or turn.get("tool_calls") for each, turn in zip(messages, turns, strict=True)):
        raise DataError("prompt has calls of tools, which verl does not read")
    if not messages:
        raise DataError("prompt is empty")
    return messages


def _picture(value: Any, number: int, folder: Path) -> Picture:
    if isinstance(value, str | bytes):
        value = {"image": value}
    if isinstance(value, dict):
        data = next((value[key] for key in ("bytes", "image") if isinstance(value.get(key), bytes)), None)
        name = next((value[key] for key in ("path", "image") if isinstance(value.get(key), str)), "")
        if name or data is not None:
            return Picture(name.removeprefix(_home(folder)) or name, folder, data)  # URLs into the folder
    raise DataError(f"image {number} is neither a file's name nor its bytes")


@lru_cache(maxsize=16)
def _home(folder: Path) -> str:
    return f"file://{folder.resolve().as_posix()}/"


def _tool(value: Any) -> dict[str, Any] | None:
    if isinstance(value, str) and value.strip():
        try:
            parsed = json.loads(value)
        except (ValueError, RecursionError):
            parsed = value.strip()
        value = {"name": parsed} if isinstance(parsed, str) else parsed
    if not isinstance(value, dict) or not isinstance(value.get("name"), str) or not value["name"]:
        return None
    return plain_fields(value)


def _id(value: Any, is_int: Any) -> str | int | None:
    if value is None or (type(value) is int):
        return value
    if not isinstance(value, str):
        raise DataError("extra_info.id is neither text nor a whole number")
    if not is_int:
        return value
    try:
        return int(value)
    except ValueError:
        raise DataError("extra_info.id is not the whole number that it claims to be") from None


def _text(value: Any, name: str) -> str | None:
    if value is not None and not isinstance(value, str):
        raise DataError(f"{name} is not text")
    return value
