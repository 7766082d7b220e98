"""Rows of JSON files, one at a time: of an array, however large the file, and of lines.

What is wrong in one row costs that row; behind broken JSON in an array nothing more can be read. A `_Scanner` finds
where each row of an array or object begins and ends; a row itself is parsed by `_fields`.
"""

import json
import math
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import islice
from typing import IO, Any, NoReturn

import msgspec

from virc.core.errors import DataError, UnreadError
from virc.core.text import clause, plain

MAX_ROW_BYTES = 64 * 2**20
"""Of a row, which names its images and does not hold them."""
MAX_DEPTH = 100
"""Objects and lists within each other: what is read can also be copied, sent to another process and written."""

_BOM = b"\xef\xbb\xbf"
_CHUNK = 2**20
_SPACE = b" \t\r\n"
_BETWEEN = (b",", b":", b"]", b"}")
_SCALAR = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[^\s,:"{}\[\]]++(?=.)', re.DOTALL)
# The outer group is not possessive: before 3.11.5, Python mismatches a possessive group that holds another (gh-106052).
_TO_BRACKET = re.compile(rb'[^"{}\[\]]*+(?:"[^"\\]*+(?:\\.[^"\\]*+)*+"[^"{}\[\]]*+)*[{}\[\]]', re.DOTALL)
_HALF_CHARACTER = re.compile("[\ud800-\udfff]")

KIND_NAMES: Mapping[type, str] = {
    bool: "true or false", int: "a number", float: "a number", str: "text", list: "a list", dict: "an object",
    type(None): "null",
}  # fmt: skip

Fields = dict[str, Any]
_QUICK = msgspec.json.Decoder(Fields)


def array_rows(file: IO[bytes], start: int = 1) -> Iterator[tuple[int, Fields | DataError]]:
    """The objects of a file that is one JSON array, numbered from 1; for a row that is wrong, its fault.

    Those before the row `start` are passed over.

    A row has no repeated keys, no NaN or infinity, and at most `MAX_ROW_BYTES`. A file that goes on or ends in
    another way than an array does gives one `UnreadError` with the number of the next row, and no more.
    """
    return _rows(file, b"[", _Scanner.items, start)


def list_rows(file: IO[bytes], start: int = 1) -> Iterator[tuple[int, Fields | DataError]]:
    """The objects of the list that is a value of the one JSON object in a file, such as `{"data": [...]}`.

    As `array_rows`. If a second value is a list of objects, it is unknown which is meant: an `UnreadError` names both.
    """
    return _rows(file, b"{", _Scanner.items_of_list, start)


def keyed_rows(file: IO[bytes], start: int = 1) -> Iterator[tuple[int, Fields | DataError]]:
    """The objects that are the values of the one JSON object in a file, each with its key as `key`; as `array_rows`."""
    return _rows(file, b"{", _Scanner.members, start)


def _rows(
    file: IO[bytes], opens: bytes, items: "Callable[[_Scanner], Iterator[tuple[bytes, bytes]]]", start: int
) -> Iterator[tuple[int, Fields | DataError]]:
    number = 1
    try:
        scanner = _Scanner(file, opens)
        for key, value in items(scanner):
            try:
                if number >= start:
                    yield number, ({"key": json.loads(key)} if key else {}) | _fields(value)
            except (ValueError, RecursionError) as error:
                if isinstance(error, json.JSONDecodeError) and not key:
                    raise DataError(_reason(error)) from None
                yield number, DataError(f"row {number}: {_reason(error)}")
            number += 1
        if scanner.symbol():
            raise DataError(f"there is more behind the end of the {'array' if opens == b'[' else 'object'}")
    except DataError as fault:
        yield number, UnreadError(f"row {number}: {fault.message}", fault.hint)


def line_rows(
    file: IO[bytes], start: int = 1, most: int = MAX_ROW_BYTES, quick: bool = False
) -> Iterator[tuple[int, Fields | DataError]]:
    """The objects of a JSONL file with their line numbers; the rules are those of `array_rows`, line by line.

    Args:
        quick: take half the time; of a key that comes twice the last value counts, and any depth is read.
    """
    for number, text in lines(file, most, start):
        if isinstance(text, DataError):
            yield number, text
            continue
        try:
            yield number, _quick_fields(text) if quick else _fields(text)
        except (ValueError, RecursionError) as error:
            yield number, DataError(f"line {number}: {_reason(error)}")


def first_object(rows: Iterable[tuple[int, Fields | DataError]]) -> Fields | None:
    """The first row that can be read, if it is one of the first hundred; None where none is."""
    return next((row for _, row in islice(rows, 100) if isinstance(row, dict)), None)


def lines(file: IO[bytes], most: int, start: int = 1) -> Iterator[tuple[int, bytes | DataError]]:
    """The lines of a file with their numbers, from 1; one over `most` bytes is a fault.

    Blank ones and those before the line `start` are passed over.
    """
    number = 0
    try:
        while text := file.readline(most):
            number += 1
            if len(text) == most and not text.endswith(b"\n"):
                while (rest := file.readline(2**20)) and not rest.endswith(b"\n"):
                    pass
                text = b""
            if number < start:
                continue
            if not text:
                yield number, DataError(f"line {number} is over {most >> 20} MiB")
            elif text.strip():
                yield number, text.removeprefix(_BOM)
    except OSError as error:
        yield number + 1, UnreadError(f"line {number + 1} cannot be read: {clause(error)}")


def one_line(value: object) -> str:
    """JSON on one line that can be written as UTF-8; raises ValueError for what JSON cannot hold."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (TypeError, RecursionError) as error:
        raise ValueError(clause(error)) from None
    # half a character, as in a file name that is no UTF-8, cannot stand in a file of UTF-8
    return _HALF_CHARACTER.sub(lambda half: rf"\u{ord(half[0]):04x}", text)


class _Scanner:
    """Finds the items of one JSON array or object in a file, of which it holds one item at a time.

    `_held` are the bytes that were read from the file and not dropped yet, `_at` is the position in them.
    """

    def __init__(self, file: IO[bytes], opens: bytes) -> None:
        self._file, self._held, self._at = file, b"", 0
        self._read_more()
        self._at = len(_BOM) if self._held.startswith(_BOM) else 0
        if self.symbol() != opens:
            kind = "array" if opens == b"[" else "object"
            raise DataError(f"the file does not begin with {opens.decode()}, as an {kind} does")
        self._at += 1

    def symbol(self) -> bytes:
        """The next byte that is no space, which stays the next; empty at the end of the file."""
        while True:
            while (byte := self._held[self._at : self._at + 1]) and byte in _SPACE:
                self._at += 1
            if byte or not self._read_more():
                return byte

    def _elements(self, closes: bytes) -> Iterator[None]:
        """Stop at each element of the array or object that was begun, for it to be read; end behind the last."""
        is_first = True
        while (symbol := self.symbol()) != closes:
            if symbol and not is_first:
                if symbol != b",":
                    raise DataError("there is no comma before it")
                self._at += 1
                symbol = self.symbol()
            if not symbol:
                raise DataError(f"the file ends within the {'array' if closes == b']' else 'object'}")
            if symbol in _BETWEEN:
                raise DataError(f"there is {symbol.decode()} where an object is due")
            yield
            is_first = False
        self._at += 1

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Empty keys and the items of the array that was begun, as they are written."""
        return ((b"", self._value()) for _ in self._elements(b"]"))

    def _keys(self) -> Iterator[bytes]:
        """The keys of the object that was begun; the value of each is to be read before the next."""
        for _ in self._elements(b"}"):
            key = self._value()
            has_colon = self.symbol() == b":"
            self._at += 1
            if key[:1] != b'"' or not has_colon or self.symbol() in (b"", *_BETWEEN):
                raise DataError("the file is no whole JSON object")
            yield key

    def members(self) -> Iterator[tuple[bytes, bytes]]:
        """The keys and values of the object that was begun, as they are written."""
        return ((key, self._value()) for key in self._keys())

    def items_of_list(self) -> Iterator[tuple[bytes, bytes]]:
        """The items of the one value of the object that is a list of objects."""
        found = ""
        for key in self._keys():
            if self.symbol() != b"[":
                self._value()
                continue
            self._at += 1
            if self.symbol() != b"{":  # a list of something else is passed over
                deque(self.items(), 0)
                continue
            name = plain(key[1:-1].decode(errors="replace"), 40)
            if found:
                raise DataError(f"the file has two lists of objects, {found} and {name}", "write each to its own file")
            found = name
            yield from self.items()
        if not found and not self.symbol():
            raise DataError("the file is an object without a list of objects")

    def _value(self) -> bytes:
        """The value that begins at the next byte, as it is written."""
        size = depth = 0
        if self._held[self._at] not in b"{[":
            size = self._end(_SCALAR, 0)
        while not size or depth:
            size = self._end(_TO_BRACKET, size)
            depth += 1 if self._held[self._at + size - 1] in b"{[" else -1
        _check_size(size)
        self._at += size
        return self._held[self._at - size : self._at]

    def _end(self, pattern: re.Pattern[bytes], start: int) -> int:
        """Where a match ends that begins there, both counted from the next byte; what it lacks is read."""
        while (match := pattern.match(self._held, self._at + start)) is None:
            _check_size(len(self._held) - self._at)
            if not self._read_more():
                raise DataError("the file ends within it")
        return match.end() - self._at

    def _read_more(self) -> bool:
        """Read as many bytes as are held, so that a long row is scanned few times; False: the file has ended."""
        held = self._held[self._at :]
        try:
            new = self._file.read(max(_CHUNK, len(held)))
        except OSError as error:
            raise DataError(f"it cannot be read: {clause(error)}") from None
        self._held, self._at = held + new, 0
        return bool(new)


def _check_size(size: int) -> None:
    if size > MAX_ROW_BYTES:
        raise DataError(f"it is over {MAX_ROW_BYTES >> 20} MiB")


def _fields(text: bytes) -> Fields:
    value = json.loads(text.decode(), object_pairs_hook=_object, parse_constant=_refuse, parse_float=_finite)
    if not isinstance(value, dict):
        raise ValueError(f"it is {KIND_NAMES[type(value)]}, not an object")
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH):
        inner = (part for whole in level for part in (whole.values() if isinstance(whole, dict) else whole))
        level = [part for part in inner if isinstance(part, dict | list)]
        if not level:
            return value
    raise RecursionError


def _quick_fields(text: bytes) -> Fields:
    with suppress(ValueError, RecursionError):
        return _QUICK.decode(text)
    return _fields(text)  # raises an error that says what is wrong


def _reason(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"it is not JSON: {error.msg} at character {error.pos}"
    if isinstance(error, UnicodeDecodeError):
        return f"it is not UTF-8 at byte {error.start}: iconv -f ENCODING -t utf-8 converts it"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return clause(error)


def _object(pairs: list[tuple[str, Any]]) -> Fields:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a key comes twice in one object")
    return value


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"it contains {constant}, which is not valid JSON")


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError("it holds a number that is too large")
    return value
