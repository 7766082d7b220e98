"""The rows that operators get, from files of any size, and the pictures that go with those that are kept."""

import hashlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec

from virc.core.errors import DataError, UnreadError
from virc.core.files import expanded
from virc.data.rows import raw
from virc.data.rows.pictures import PictureStore
from virc.data.rows.record import Picture
from virc.reasoning.media import files_from
from virc.solving.rows import with_choices
from virc.solving.sources.columns import Columns, picture_of, read_row, resolve
from virc.solving.sources.picture_files import ENDINGS
from virc_extras.make.operator import Row

_MAX_NAME = 1024  # characters of a picture's name
_MAX_KNOWN = 20_000  # pictures whose names are in memory
_IMAGES = ("image", "images")
_TEXTS = ("id", "question", "answer")  # never taken for the name of a picture
_PLAIN = Columns()


def read(sources: Sequence[str], trusted: bool = False) -> Iterator[Row]:
    number = 0
    for at, source in enumerate(sources):
        path, known = expanded(source), dict[tuple[str, ...], Columns | None]()
        if not path.exists():
            raise DataError(f"there is no file {source}")
        if path.is_dir() and not raw.is_saved(path):
            raise DataError(f"{source} is a folder", "name a file of rows in it")
        base = path if path.is_dir() else path.parent
        for line, fields in raw.rows(path):
            number += 1
            if isinstance(fields, UnreadError):
                raise DataError(f"{source}: {fields.message}", fields.hint)
            row = _row(line, number, fields, base, at, known)
            yield msgspec.structs.replace(row, trusted=True) if trusted else row


def count(sources: Sequence[str]) -> int:
    return sum(1 for source in sources for _ in raw.rows(expanded(source)))


def digest(row: Row) -> bytes:
    """What tells the content of a row apart, in 8 bytes."""
    content = row.fields or (row.fault.message if row.fault else "")
    try:
        text = msgspec.json.encode(content)
    except (UnicodeEncodeError, OverflowError):  # it cannot be written either
        text = repr(content).encode(errors="backslashreplace")
    return hashlib.blake2b(text, digest_size=8).digest()


def _row(
    line: int,
    number: int,
    fields: dict[str, Any] | DataError,
    base: Path,
    source: int,
    known: dict[tuple[str, ...], Columns | None],
) -> Row:
    if isinstance(fields, DataError):
        return Row(line=line, number=number, id=number, fields={}, base=base, source=source, fault=fields)
    names = tuple(fields)
    if names not in known:
        try:
            known[names] = resolve(names, {})
        except DataError:  # it has no question, or none is known
            known[names] = None
    columns = known[names]
    is_plain = columns == _PLAIN and all(type(fields.get(name)) is str for name in ("image", "question"))
    asked = read_row(line, number, fields, columns) if columns and not is_plain else None
    if asked and not asked.fault:
        texts = asked.images, asked.question, asked.passed
    else:
        question, choices = fields.get("question"), fields.get("choices")
        text = question if isinstance(question, str) else ""
        given_images = (fields.get(name) for name in _IMAGES)
        several = (each if isinstance(each, list) else [each] for each in given_images if each is not None)
        images = tuple(name for each in chain(*several) if isinstance(name := picture_of(each), str) and name)
        texts = images, with_choices(text, choices) if isinstance(choices, list) else text, fields
    given = asked.id if asked and asked.id is not None else fields.get("id")
    id = given if isinstance(given, str | int) and not isinstance(given, bool) else number
    images, question, passed = texts
    return Row(
        line=line, id=id, images=images, question=question, passed=passed, number=number, fields=fields, base=base,
        source=source,
    )  # fmt: skip


class Placed:
    """Puts the pictures of rows next to NEW, so that their names stay valid: linked where the disk allows.

    Names on the network, absolute ones and data URLs stay as they are, and so does all in the folder of NEW.
    """

    def __init__(self, folder: Path, trusted: bool = False) -> None:
        self._confined = not trusted
        self._folder, self._store, self._count = folder.resolve(), PictureStore(folder), 0
        self._same: dict[Path, bool] = {}
        self._lock = threading.Lock()

    def fields(self, fields: Mapping[str, Any], base: Path) -> dict[str, Any]:
        """The columns of a row with the names of its pictures in the folder of NEW; bytes become files."""
        if base not in self._same:
            self._same[base] = base.resolve() == self._folder
        moved = {**fields, **files_from(fields, base, self._folder)}
        return {name: value if name in _TEXTS else self._value(value, base) for name, value in moved.items()}

    def _value(self, value: Any, base: Path) -> Any:
        if isinstance(value, str):
            return self._named(value, base)
        if isinstance(value, list) and value and not isinstance(value[0], int | float):
            return [self._value(each, base) for each in value]
        data = value.get("bytes") if isinstance(value, dict) else value
        if isinstance(data, bytes):
            return self._put(Picture(str(value.get("path") or "") if isinstance(value, dict) else "", base, data))
        if isinstance(value, dict):
            return {key: self._value(each, base) for key, each in value.items()}
        return value

    def _named(self, name: str, base: Path) -> str:
        is_far = self._same[base] or name[:1] == "/" or ":" in name[:8]
        if is_far or len(name) > _MAX_NAME or f".{name.rpartition('.')[2].lower()}" not in ENDINGS:
            return name
        return self._put(Picture(name, base, confined=self._confined))

    def _put(self, picture: Picture) -> str:
        try:
            with self._lock:
                self._count += 1
                if self._count % _MAX_KNOWN == 0:  # memory does not grow with the rows
                    self._store = PictureStore(self._folder)
                return self._store.add(picture)
        except OSError:  # a text that looks like a name, or a picture that is not there
            return picture.name
