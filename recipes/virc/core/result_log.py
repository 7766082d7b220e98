"""The output file of a batch: one record a row, safe on disk before the row counts as done.

A batch that was killed can be resumed: an incomplete last record is cut off, records of failed rows are dropped so
that these rows are done again, and a lock excludes a second run.
"""

import hashlib
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Self

import msgspec

from virc.core.errors import ConfigError, DataError
from virc.core.files import writing
from virc.core.locks import lock, unlock
from virc.core.text import clause

Id = str | int


class OtherSettingsError(ConfigError):
    """An output holds answers that were made with other settings."""


class ChangedRowError(DataError):
    """A row has other content than when it was answered; its line in `output` has to go before a rerun."""

    def __init__(self, id: Id, output: str, elsewhere: str) -> None:
        super().__init__(
            f"the row {id!r} has changed since it was answered", f"take its line out of {output}, or {elsewhere}"
        )
        self.remedy = f"take the lines of changed rows out of {output}"


class _Error(msgspec.Struct):
    code: int


class _Line(msgspec.Struct):
    schema: str
    id: Id | None
    row: str | None
    error: _Error | None
    model: str | None
    protocol: str | None
    settings: dict[str, Any] | None


class Claims:
    """The rows seen so far, each id once.

    Attributes:
        may_begin: returns whether another row may be started; rows are no longer read after it returned False.
        outdated: the ids, as text, and the former hashes of rows that changed since they were answered.
    """

    _output = "the output"

    def __init__(self) -> None:
        self._elsewhere = "use another «--to»"
        self.may_begin: Callable[[], bool] = lambda: True
        self.outdated = set[tuple[str, str]]()
        self._answered: dict[bytes, str | None] = {}  # key of an id -> hash of its row; None: claimed in this run

    def claim(self, id: Id, row: str) -> bool:
        """Return whether a row still has to be done; `row` is the hash of its content.

        Raises:
            DataError: the id is not unique.
            ChangedRowError: its answer is to a row with other content.
        """
        key = _key(id)
        known, before = key in self._answered, self._answered.get(key)
        self._answered[key] = None
        if not known or before == row:
            return not known
        if before is None:
            raise DataError(f"the id {id!r} comes twice", "give every row an id of its own")
        self.outdated.add((str(id), before))
        raise ChangedRowError(id, self._output, self._elsewhere)

    def before(self, id: Id) -> str | None:
        """The hash of the row that a former run answered under that id; None if there is none."""
        return self._answered.get(_key(id))

    def answered(self, id: Id, row: str) -> None:
        self._answered[_key(id)] = row


def _key(id: Id) -> bytes:
    return hashlib.blake2b(str(id).encode(), digest_size=12).digest()


class Ledger(Claims):
    """The output file, locked while its `with` block runs.

    Args:
        schema: what its lines carry; a file with other lines is not touched.
        settings: `model`, `protocol` and the settings that all answers in one file share.
        results: error codes that count as a result; lines with them are kept.

    Attributes:
        resumed: how many rows were done when it was opened.

    Raises:
        ConfigError: another run holds the file, or it holds other lines, or answers made with other settings.
    """

    def __init__(self, path: Path, schema: str, settings: Mapping[str, object], results: Collection[int]) -> None:
        super().__init__()
        self.path = path.resolve()  # through a link, the file it leads to
        self._output = str(path)
        self.resumed = 0
        self._schema, self._settings, self._results = schema, settings, results

    def __enter__(self) -> Self:
        with writing(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if self.path.exists() and not self.path.is_file():
                raise ConfigError(f"{self.path} is not a file", self._elsewhere)
            self._lock = lock(self.path)
            try:
                self._resume()
                # unbuffered: after a failed write, closing writes nothing more
                self._file = self.path.open("ab", buffering=0)
            except BaseException:
                unlock(self._lock)
                raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            with writing(self.path):
                self._file.close()
        finally:
            unlock(self._lock)

    def append(self, line: bytes) -> None:
        """Add a line, given without its newline; on return it is on disk. If that fails, none of it remains."""
        with writing(self.path):
            end = self._file.seek(0, os.SEEK_END)
            try:
                rest = memoryview(line + b"\n")
                while rest:
                    rest = rest[self._file.write(rest) :]
                os.fsync(self._file.fileno())
            except OSError:
                self._file.truncate(end)  # so that the next record begins a line
                raise

    def _resume(self) -> None:
        if not self.path.exists():
            return
        self._cut()
        failed = False
        for _, line in self._lines():
            if not self._is_result(line):
                failed = True
                continue
            self._check(line)
            if line.id is not None:
                self.answered(line.id, line.row or "")
            self.resumed += 1
        if failed:
            self._drop_failed()

    def _cut(self) -> None:
        """Cut off what follows the last complete record, if it is the beginning of one of ours."""
        with self.path.open("r+b") as file:
            end = _after_last_newline(file)
            file.seek(end)
            begin, tail = msgspec.json.encode({"schema": self._schema})[:-1], file.read(64)
            if tail[: len(begin)] != begin[: len(tail)]:
                raise self._foreign("its last line has no end")
            file.truncate(end)

    def _lines(self) -> Iterator[tuple[bytes, _Line]]:
        with self.path.open("rb") as file:
            for number, text in enumerate(file, 1):
                try:
                    line = msgspec.json.decode(text, type=_Line)
                except (ValueError, RecursionError) as error:  # ValueError: msgspec's, and bytes of no UTF-8
                    raise self._foreign(f"line {number}: {clause(error)}") from error
                if line.schema != self._schema:
                    raise self._foreign(f"line {number} is of schema {line.schema!r}")
                yield text, line

    def _is_result(self, line: _Line) -> bool:
        return line.error is None or line.error.code in self._results

    def _check(self, line: _Line) -> None:
        theirs = {"model": line.model, "protocol": line.protocol, **(line.settings or {})}
        for key, value in self._settings.items():
            if theirs.get(key) != value:
                sentence = f"{self.path} holds answers made with {key} {theirs.get(key)}, not {value}"
                raise OtherSettingsError(sentence, f"{self._elsewhere}, or the same settings")

    def _drop_failed(self) -> None:
        new = self.path.with_name(f".{self.path.name}.new")  # nobody else writes it: the lock is ours
        with new.open("wb") as file:
            file.writelines(text for text, line in self._lines() if self._is_result(line))
            file.flush()
            os.fsync(file.fileno())
        new.chmod(self.path.stat().st_mode)
        new.replace(self.path)

    def _foreign(self, reason: str) -> ConfigError:
        return ConfigError(f"{self.path} is not the output of a batch: {reason}", self._elsewhere)


def _after_last_newline(file: IO[bytes]) -> int:
    end = file.seek(0, os.SEEK_END)
    while end > 0:
        start = max(0, end - 2**16)
        file.seek(start)
        at = file.read(end - start).rfind(b"\n")
        if at >= 0:
            return start + at + 1
        end = start
    return 0
