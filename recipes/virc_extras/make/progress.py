"""The file NEW.progress, from which a command that was stopped resumes: a header, then a line per finished row."""

import os
import struct
import threading
from array import array
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from shlex import quote
from typing import Any, Self

import msgspec

from virc.core.errors import ConfigError, VircError, errors_as
from virc.core.files import writing
from virc.core.text import clause, plain
from virc_extras.make.operator import Cost, LeftOut

SCHEMA = "virc.data.make.progress/1"
_NOT_OURS = "{} is not the progress of virc data make"
_BUFFER = 2**20


class Line(msgspec.Struct, omit_defaults=True):
    """The result of a row, or, with a `key`, a saved value of an unfinished row (see `Means.once`)."""

    n: int
    row: str
    id: str | int = 0
    source: int = 0
    rows: list[msgspec.Raw] = []
    out: LeftOut | None = None
    value: Any = None
    cost: Cost | None = None
    key: str | None = None


class Progress:
    """The file, open while its `with` block lasts.

    Args:
        head: the settings of all its lines; a file of other settings is refused.
        safe: whether each line is on disk before `add` returns, for results of paid models.

    Raises:
        ConfigError: the file has other settings, or is not a progress file.
        VircError: the file cannot be written.
    """

    def __init__(self, path: Path, head: Mapping[str, Any], safe: bool) -> None:
        self.path, self.resumed, self.cost = path, 0, Cost()
        self._head = msgspec.json.decode(msgspec.json.encode({"schema": SCHEMA, **head}))
        self._safe, self._lock = safe, threading.Lock()
        self._offsets, self._digests = array("q"), array("Q")  # by row number; offset -1: not done
        self._values: dict[tuple[int, str], Any] = {}

    def __enter__(self) -> Self:
        with errors_as(VircError, f"cannot write {self.path}", caught=(OSError, ValueError)):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if self.path.exists():
                self._read()
            self._file = self.path.open("ab", buffering=_BUFFER)
            if self._file.tell() == 0:
                self._write(msgspec.json.encode(self._head) + b"\n")
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        if not self._offsets and not self._values:  # nothing is lost
            self.path.unlink(missing_ok=True)

    def done(self, number: int, digest: bytes) -> bool | None:
        """Whether a row is done; None if the row with this number was another one."""
        if number >= len(self._offsets) or self._offsets[number] < 0:
            return False
        return True if self._digests[number] == _number(digest) else None

    @property
    def last(self) -> int:
        return len(self._offsets) - 1

    def add(self, line: Line) -> None:
        self._note(line, self._write(encoded(line) + b"\n"))
        if line.key is not None:
            self._values[line.n, line.key] = line.value

    def once(self, number: int, row: str, key: str, make: Callable[[], Any]) -> Any:
        if (number, key) in self._values:
            return self._values[number, key]
        value = make()
        self.add(Line(number, row, key=key, value=value))
        return value

    def lines(self, numbers: Iterator[int] | None = None) -> Iterator[Line]:
        with self._lock:
            self._file.flush()
        with self.path.open("rb", buffering=_BUFFER) as file:
            for number in range(len(self._offsets)) if numbers is None else numbers:
                if self._offsets[number] >= 0:
                    file.seek(self._offsets[number])
                    yield msgspec.json.decode(file.readline(), type=Line)

    def _write(self, text: bytes) -> int:
        with writing(self.path), self._lock:
            at = self._file.tell()
            self._file.write(text)
            if self._safe:
                self._file.flush()
                os.fsync(self._file.fileno())
            return at

    def _note(self, line: Line, at: int) -> None:
        if line.key is not None:
            return
        with self._lock:
            while len(self._offsets) <= line.n:
                self._offsets.append(-1)
                self._digests.append(0)
            self._offsets[line.n], self._digests[line.n] = at, _number(bytes.fromhex(line.row))
            self.cost.add(line.cost or Cost())
            for key in [each for each in self._values if each[0] == line.n]:
                del self._values[key]

    def _read(self) -> None:
        """Read the finished rows, and remove an incomplete last line."""
        with self.path.open("r+b", buffering=_BUFFER) as file:
            at, text = 0, file.readline()
            if text.endswith(b"\n"):
                self._check(text)
            elif not msgspec.json.encode(self._head).startswith(text):  # no first line of ours that a kill cut
                raise ConfigError(_NOT_OURS.format(self.path), "choose another «--to»")
            while text.endswith(b"\n"):
                try:
                    line = msgspec.json.decode(text, type=Line) if at else None
                    if line:
                        self._note(line, at)
                except (ValueError, RecursionError) as error:
                    sentence = f"{self.path} is damaged: {clause(error)}"
                    raise ConfigError(sentence, f"rm {quote(str(self.path))} begins again") from None
                if line and line.key is None:
                    self.resumed += 1
                elif line and line.key is not None:
                    self._values[line.n, line.key] = line.value
                at += len(text)
                text = file.readline()
            file.truncate(at)

    def _check(self, text: bytes) -> None:
        try:
            theirs = msgspec.json.decode(text)
        except (ValueError, RecursionError):
            theirs = None
        if not isinstance(theirs, dict) or theirs.get("schema") != SCHEMA:
            raise ConfigError(_NOT_OURS.format(self.path), "choose another «--to»")
        ours = self._head
        for key in {**theirs, **ours}:
            if theirs.get(key) != ours.get(key):
                sentence = f"{self.path} was begun with {key} {_said(theirs.get(key))}, not {_said(ours.get(key))}"
                raise ConfigError(sentence, f"run the same command again, or rm {quote(str(self.path))} to start over")


def encoded(value: object) -> bytes:
    """A value as JSON; a model's reply, a subclass of `str`, is written as a text."""
    return msgspec.json.encode(value, enc_hook=_text)


def _text(value: object) -> str:
    if isinstance(value, str):
        return str(value)
    raise TypeError(f"{type(value).__name__} cannot stand in a row")


def _said(value: object) -> str:
    return plain(msgspec.json.encode(value).decode(), 200)


def _number(digest: bytes) -> int:
    return int(struct.unpack(">Q", digest)[0])
