"""Rows of JSON files, one at a time: of an array, however large the file, and of lines.

What is wrong in one row costs that row; behind broken JSON in an array nothing more can be read. `line_rows` reads
lines. `array_rows`, `list_rows` and `keyed_rows` read one large array or object by a `_Scanner`, which finds where each
row begins and ends; a row itself is parsed by `_fields`.
"""

import json
import math
import re
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
_SCALAR = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[^\s,:"{}\[\]]++', re.DOTALL)
# The outer group is not possessive: before 3.11.5, Python mismatches a possessive group that holds another (gh-106052).
_UP_TO_BRACKET = re.compile(rb'[^"{}\[\]]*+(?:"[^"\\]*+(?:\\.[^"\\]*+)*+"[^"{}\[\]]*+)*', re.DOTALL)
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
    yield from _rows(_Scanner(file, b"["), start)


def list_rows(file: IO[bytes], start: int = 1) -> Iterator[tuple[int, Fields | DataError]]:
    """The objects of the list that is a value of the one JSON object in a file, such as `{"data": [...]}`.

    As `array_rows`. If a second value is a list of objects, it is unknown which is meant: an `UnreadError` names both.
    """
    yield from _rows(_Scanner(file, b"{"), start, _Scanner.begin_list)


def keyed_rows(file: IO[bytes], start: int = 1) -> Iterator[tuple[int, Fields | DataError]]:
    """The objects that are the values of the one JSON object in a file, each with its key as `key`; as `array_rows`."""
    yield from _rows(_Scanner(file, b"{"), start, next_row=_Scanner.next_keyed)


def _rows(
    scanner: "_Scanner",
    start: int,
    begin: "Callable[[_Scanner], None]" = lambda _: None,
    next_row: "Callable[[_Scanner, bool], tuple[bytes, bytes] | None] | None" = None,
) -> Iterator[tuple[int, Fields | DataError]]:
    number = 1
    try:
        scanner.begin()
        begin(scanner)
        while item := (next_row or _Scanner.next_row)(scanner, number == 1):
            key, value = item
            try:
                if number >= start:
                    yield number, ({"key": json.loads(key)} if key else {}) | _fields(value)
            except (ValueError, RecursionError) as error:
                if isinstance(error, json.JSONDecodeError) and not key:
                    raise DataError(_reason(error)) from None
                yield number, DataError(f"row {number}: {_reason(error)}")
            number += 1
        scanner.end()
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
        self._file, self._opens = file, opens
        self._held = b""
        self._at = 0
        self._list: str | None = None  # the key of the list that is read, in a file that is one object

    def begin(self) -> None:
        self._read_more()
        self._at = len(_BOM) if self._held.startswith(_BOM) else 0
        if self._symbol() != self._opens:
            kind = "array" if self._opens == b"[" else "object"
            raise DataError(f"the file does not begin with {self._opens.decode()}, as an {kind} does")

    def begin_list(self) -> None:
        self._list = self._next_list(first=True)
        if self._list is None:
            raise DataError("the file is an object without a list of objects")

    def end(self) -> None:
        if self._list is None:
            if self._symbol():
                raise DataError("there is more behind the end of the array")
        elif (other := self._next_list()) is not None:
            both = f"{self._list} and {other}"
            raise DataError(f"the file has two lists of objects, {both}", "write each to its own file")

    def next_row(self, first: bool) -> tuple[bytes, bytes] | None:
        """An empty key and the next item of the array as it is written; None behind the last."""
        symbol = self._symbol()
        if symbol == b"]":
            return None
        if not first:
            if symbol != b",":
                raise DataError("the file ends within the array" if not symbol else "there is no comma before it")
            symbol = self._symbol()
        if not symbol:
            raise DataError("the file ends within the array")
        if symbol in _BETWEEN:
            raise DataError(f"there is {symbol.decode()} where an object is due")
        return b"", self._value(symbol)

    def next_keyed(self, first: bool) -> tuple[bytes, bytes] | None:
        """The next key of the object and its value as they are written; None behind the last."""
        if (found := self._next_key(first)) is None:
            return None
        key, symbol = found
        return key, self._value(symbol)

    def _next_key(self, first: bool) -> tuple[bytes, bytes] | None:
        """The next key of the object, and the first byte of its value, which was read; None behind the last."""
        symbol = self._symbol()
        if symbol == b"}":
            return None
        if not first:
            symbol = self._symbol() if symbol == b"," else b""
        key = self._scalar() if symbol == b'"' else b""
        value = self._symbol() if key and self._symbol() == b":" else b""
        if not value or value in _BETWEEN:
            raise DataError("the file is no whole JSON object")
        return key, value

    def _next_list(self, first: bool = False) -> str | None:
        """Read on into the next value that is a list of objects; return its key, or None at the end of the file."""
        while found := self._next_key(first):
            first = False
            key, symbol = found
            if symbol != b"[":
                self._value(symbol)
                continue
            inner = self._symbol()
            self._at -= 1  # it is read again as the beginning of the first row
            if inner == b"{":
                return plain(key[1:-1].decode(errors="replace"), 40)
            is_first = True
            while self.next_row(is_first):  # a list of something else is passed over
                is_first = False
        if self._symbol():
            raise DataError("there is more behind the end of the object")
        return None

    def _value(self, symbol: bytes) -> bytes:
        """The value as it is written whose first byte, the `symbol`, was just read."""
        return self._object() if symbol in (b"{", b"[") else self._scalar()

    def _symbol(self) -> bytes:
        """The next byte that is no space; empty at the end of the file."""
        while True:
            while (byte := self._held[self._at : self._at + 1]) and byte in _SPACE:
                self._at += 1
            if byte or not self._read_more():
                self._at += 1
                return byte

    def _scalar(self) -> bytes:
        """The text, number or word whose first byte was just read."""
        self._at -= 1
        while (match := _SCALAR.match(self._held, self._at)) is None or match.end() == len(self._held):
            _check_size(len(self._held) - self._at)
            if not self._read_more():
                raise DataError("the file ends within it")
        self._at = match.end()
        return match[0]

    def _object(self) -> bytes:
        """The object or list whose first byte was just read."""
        self._at -= 1
        size, depth = 0, 0  # of what is known of it: bytes, and brackets that are open at its end
        while True:
            size = self._up_to_bracket(size)
            depth += 1 if self._held[self._at + size] in b"{[" else -1
            size += 1
            if depth == 0:
                _check_size(size)
                self._at += size
                return self._held[self._at - size : self._at]

    def _up_to_bracket(self, size: int) -> int:
        """The size of an object up to its next bracket that is in no text, at least `size`."""
        while True:
            match = _UP_TO_BRACKET.match(self._held, self._at + size)
            assert match
            size = match.end() - self._at
            if self._held[match.end() : match.end() + 1] not in (b"", b'"'):
                return size
            _check_size(len(self._held) - self._at)
            if not self._read_more():
                raise DataError("the file ends within it")

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
