"""Rows of JSON files, one at a time: of an array, however large the file, and of lines.

What is wrong in one row costs that row; behind broken JSON in an array nothing more can be read. `_array_items`
finds where each row of an array ends; a row itself is parsed by `_fields`.
"""

import codecs
import io
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import IO, Any

import msgspec

from virc.core.errors import DataError, UnreadError
from virc.core.text import clause, plain

MAX_ROW_BYTES = 64 * 2**20
"""Of a row, which names its images and does not hold them."""
MAX_DEPTH = 100
"""Objects and lists within each other: what is read can also be copied, sent to another process and written."""

_BOM = b"\xef\xbb\xbf"
_CHUNK = 2**20
_HEAD = 2**16
_OBJECT_LIST = re.compile(rb"\[\s*\{")
_BEFORE_ITEM = {"[": re.compile(r"[ \t\r\n]*\[[ \t\r\n]*(\])?"), ",": re.compile(r"[ \t\r\n]*(?:,[ \t\r\n]*|(\]))")}
_HALF_CHARACTER = re.compile("[\ud800-\udfff]")
_KEY_END = b'":'
_SCANNER = json.JSONDecoder(parse_int=str, parse_float=str)  # where a value ends; what is in it, `_fields` says

KIND_NAMES: Mapping[type, str] = {
    bool: "true or false", int: "a number", float: "a number", str: "text", list: "a list", dict: "an object",
    type(None): "null",
}  # fmt: skip

Fields = dict[str, Any]
Reader = Callable[[IO[bytes], int], Iterator[tuple[int, Fields | DataError]]]
_FIELDS = msgspec.json.Decoder(Fields)
MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])


def array_rows(file: IO[bytes], start: int = 1) -> Iterator[tuple[int, Fields | DataError]]:
    """The objects of a file that is one JSON array, numbered from 1; for a row that is wrong, its fault.

    Those before the row `start` are passed over. A row has no NaN or infinity, and at most `MAX_ROW_BYTES`, and
    no key twice with two values. A file that goes on or ends in another way than an array does gives one
    `UnreadError` with the number of the next row, and no more.
    """
    number = 0
    try:
        for number, text in enumerate(_array_items(file), 1):
            if number >= start:
                yield number, _fields(text, f"row {number}")
    except (OSError, ValueError, RecursionError) as error:
        yield number + 1, UnreadError(f"row {number + 1}: {_reason(error)}")


def object_rows(file: IO[bytes], start: int = 1) -> Iterator[tuple[int, Fields | DataError]]:
    """The rows of a file that is one JSON object, which is read whole.

    They are the objects of the one list of objects in it, as of `{"data": [...]}`, or else all its values, each with
    its key as `key`. If two values are such lists, it is unknown which is meant: an `UnreadError` names both.
    """
    try:
        text = file.read().removeprefix(_BOM)
        members = MEMBERS.decode(text)
        if text.count(_KEY_END) != len(members) + sum(bytes(each).count(_KEY_END) for each in members.values()):
            json.loads(text, object_pairs_hook=once)
    except (OSError, ValueError, RecursionError) as error:
        yield 1, UnreadError(f"row 1: the file is no JSON object: {_reason(error)}")
        return
    lists = {key: value for key, value in members.items() if _OBJECT_LIST.match(value)}
    if len(lists) > 1:
        names = " and ".join(plain(key, 40) for key in [*lists][:2])
        yield 1, UnreadError(f"row 1: the file has two lists of objects, {names}", "write each to its own file")
    elif lists:
        yield from array_rows(io.BytesIO(*lists.values()), start)
    elif not all(bytes(value).startswith(b"{") for value in members.values()):
        yield 1, UnreadError("row 1: the file is an object without a list of objects")
    else:
        for number, (key, value) in islice(enumerate(members.items(), 1), start - 1, None):
            fields = _fields(bytes(value), f"row {number}")
            yield number, {"key": key} | fields if isinstance(fields, dict) else fields


def line_rows(file: IO[bytes], start: int = 1, most: int = MAX_ROW_BYTES) -> Iterator[tuple[int, Fields | DataError]]:
    """The objects of a JSONL file with their line numbers; the rules are those of `array_rows`, line by line."""
    number = 0
    try:
        while text := file.readline(most):
            number += 1
            if is_over := len(text) == most and not text.endswith(b"\n"):
                while (rest := file.readline(2**20)) and not rest.endswith(b"\n"):
                    pass
            if number >= start and is_over:
                yield number, DataError(f"line {number} is over {most >> 20} MiB")
            elif number >= start and text.strip():
                yield number, _fields(text.removeprefix(_BOM), f"line {number}")
    except OSError as error:
        yield number + 1, UnreadError(f"line {number + 1}: {_reason(error)}")


def reader_of(file: IO[bytes], are_lines: bool) -> Reader:
    """Which of `line_rows`, `array_rows` and `object_rows` reads a file, by its beginning, where it is afterwards.

    Args:
        are_lines: whether it is named as a file of lines.
    """
    try:
        head = file.read(_HEAD).removeprefix(_BOM).lstrip()
        file.seek(0)
        beginning = [row for _, row in islice(line_rows(file), 2)] if head.startswith(b"{") and not are_lines else []
        file.seek(0)
    except OSError:  # it is met again where rows are read
        return line_rows
    if head.startswith(b"["):
        first, _, others = head.partition(b"\n")
        return line_rows if are_lines and others.strip() and _is_list(first) else array_rows
    if not beginning:
        return line_rows if are_lines else array_rows
    is_row = isinstance(beginning[0], dict) and (len(beginning) == 2 or not _has_rows(beginning[0]))
    return line_rows if is_row else object_rows


def _is_list(line: bytes) -> bool:
    try:
        return isinstance(msgspec.json.decode(line), list)
    except (ValueError, RecursionError):
        return False


def _has_rows(members: Fields) -> bool:
    """Whether an object has rows in it: a list of objects, or objects as all its values."""
    lists = (value for value in members.values() if isinstance(value, list))
    has_list = any(value and isinstance(value[0], dict) for value in lists)
    return has_list or all(isinstance(value, dict) for value in members.values())


def first_object(rows: Iterable[tuple[int, Fields | DataError]]) -> Fields | None:
    """The first row that can be read, if it is one of the first hundred; None where none is."""
    return next((row for _, row in islice(rows, 100) if isinstance(row, dict)), None)


def one_line(value: object) -> str:
    """JSON on one line that can be written as UTF-8; raises ValueError for what JSON cannot hold."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (TypeError, RecursionError) as error:
        raise ValueError(clause(error)) from None
    # half a character, as in a file name that is no UTF-8, cannot stand in a file of UTF-8
    return _HALF_CHARACTER.sub(lambda half: rf"\u{ord(half[0]):04x}", text)


def _array_items(file: IO[bytes]) -> Iterator[bytes]:
    """The items of an array as they are written, one of which is held at a time.

    Bytes that are no UTF-8 are halves of characters in `held`, so that they cost their row alone.
    """
    decoder = codecs.getincrementaldecoder("utf-8-sig")("surrogateescape")
    held, at, has_ended, before = "", 0, False, "["
    while True:
        try:
            begin, end = _next_item(held, at, before)
        except ValueError as error:
            if has_ended:
                raise
            if len(held) - at > MAX_ROW_BYTES:
                raise ValueError(f"it is over {MAX_ROW_BYTES >> 20} MiB, or broken: {clause(error)}") from None
            new = file.read(max(_CHUNK, len(held) - at))  # as much as is held: a long item is scanned few times
            held, at, has_ended = held[at:] + decoder.decode(new, not new), 0, not new
            continue
        if begin == end:
            break
        yield held[begin:end].encode("utf-8", "surrogateescape")
        at, before = end, ","
    if held[end + 1 :].strip() or any(map(bytes.strip, iter(lambda: file.read(_CHUNK), b""))):
        raise ValueError("there is more behind the end of the array")


def _next_item(text: str, at: int, before: str) -> tuple[int, int]:
    """Where the item behind `before` begins and ends, twice the end of the array if none is left. Raises ValueError."""
    found = _BEFORE_ITEM[before].match(text, at)
    if not found:
        raise ValueError(f"there is no {before} before it" if text[at:].strip() else "the file ends within the array")
    if found[1]:
        return found.start(1), found.start(1)
    at = found.end()
    try:
        end = _SCANNER.raw_decode(text, at)[1]
    except json.JSONDecodeError as error:
        if error.pos < len(text) and not error.msg.startswith("Unterminated"):
            raise ValueError(f"it is not JSON: {error.msg} at character {error.pos - at}") from None
        end = len(text)
    if end == len(text):
        raise ValueError("the file ends within the array")
    return at, end


def _fields(text: bytes, place: str) -> Fields | DataError:
    try:
        try:
            value: Any = _FIELDS.decode(text)
        except (ValueError, RecursionError):  # half a character, or a fault, which is said here
            value = json.loads(text.decode(), parse_constant=_finite, parse_float=_finite)
        if not isinstance(value, dict):
            raise ValueError(f"it is {KIND_NAMES[type(value)]}, not an object")
        # few brackets, as most rows have, nest no deeper than they are many
        if text.count(b"[") + text.count(b"{") > MAX_DEPTH and _is_deeper(value, MAX_DEPTH):
            raise RecursionError
        check_keys(text, value)
        return value
    except (ValueError, RecursionError) as error:
        return DataError(f"{place}: {_reason(error)}")


def check_keys(text: bytes, value: Any) -> None:
    """Raises ValueError: in the JSON of a value a key comes twice in an object, with two values."""
    if text.count(_KEY_END) != _count_keys(value):  # they may differ for a text with quotes, too
        json.loads(text, object_pairs_hook=once)


def once(pairs: list[tuple[str, Any]]) -> Fields:
    """The object of some pairs, as `object_pairs_hook`. Raises ValueError: a key comes twice, with two values."""
    fields: Fields = {}
    for key, value in pairs:
        if fields.setdefault(key, value) != value:
            raise ValueError(f"it has {plain(key, 40)} twice, with two values")
    return fields


def _count_keys(value: Any) -> int:
    if isinstance(value, dict):
        return len(value) + sum(_count_keys(each) for each in value.values() if type(each) in (dict, list))
    return sum(_count_keys(each) for each in value if type(each) in (dict, list)) if isinstance(value, list) else 0


def _is_deeper(value: Any, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    parts = value.values() if isinstance(value, dict) else value
    return not levels or any(_is_deeper(part, levels - 1) for part in parts)


def _reason(error: Exception) -> str:
    match error:
        case json.JSONDecodeError():
            return f"it is not JSON: {error.msg} at character {error.pos}"
        case UnicodeDecodeError():
            return f"it is not UTF-8 at byte {error.start}: iconv -f ENCODING -t utf-8 converts it"
        case RecursionError():
            return "it is nested too deeply"
        case OSError():
            return f"it cannot be read: {clause(error)}"
    return clause(error)


def _finite(number: str) -> float:
    value = float(number)
    if not math.isfinite(value):
        raise ValueError(f"it contains {plain(number, 40)}, which is no finite number")
    return value
