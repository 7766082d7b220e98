"""Tables as spreadsheets and programs write them: CSV, with semicolons too, and TSV."""

import csv
import itertools
import re
from collections.abc import Callable, Iterator
from typing import IO, Any, NamedTuple

from virc.core.errors import DataError, UnreadError
from virc.core.text import clause, plain

DELIMITERS = ",;\t|"
_MAX_CELL = 64 * 2**20  # characters: an image in base64 may be in one
_MAX_INDEX = 64  # characters: a longer cell holds an image itself
_OLD_END = re.compile(r"(?<=\r)(?!\n)")

Numbered = tuple[int, int, dict[str, Any] | DataError]
"""A row: its line in the file, its number among the rows, both from 1, and its cells by column or its fault."""


class Table(NamedTuple):
    names: tuple[str, ...]
    delimiter: str
    rows: Iterator[Numbered]


def read_table(file: IO[bytes]) -> Table:
    """The table in a UTF-8 file whose first line names the columns; rows without any text are passed over.

    Raises:
        DataError: the first line cannot be read, or names two columns alike.
    """
    csv.field_size_limit(_MAX_CELL)
    skipped, delimiter, lines = 0, "", _decoded(file)
    try:
        for first in lines:
            if first.lower().startswith("sep=") and len(first.strip("\r\n")) == 5:  # as Excel is told it
                delimiter = first[4]
            elif first.strip():
                break
            skipped += 1
        else:
            return Table((), ",", iter(()))
        delimiter = delimiter or max(DELIMITERS, key=first.count)
        reader = csv.reader(itertools.chain([first], lines), delimiter=delimiter, strict=True, skipinitialspace=True)
        header = [name.strip() for name in next(reader)]
    except (csv.Error, UnicodeDecodeError, OSError, StopIteration) as error:
        raise DataError(f"the line of column names cannot be read: {clause(error)}") from None
    while header and not header[-1]:
        header.pop()
    names = tuple(name or f"column {number}" for number, name in enumerate(header, 1))
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise DataError(f"two columns are called {plain(twice, 40)!r}", "give each column a name of its own")
    return Table(names, delimiter, _rows(reader, names, delimiter, skipped))


def with_images(rows: Iterator[Numbered], again: Callable[[], Iterator[Numbered]]) -> Iterator[Numbered]:
    """Rows whose `image` is the `index` of another row have the image of that row, as tables of VLMEvalKit are read.

    Source: open-compass/VLMEvalKit, vlmeval/dataset/image_base.py, ImageBaseDataset.

    Args:
        again: reads all rows from the beginning; this is done where the first such row is met.
    """
    images: dict[str, str] | None = None
    for line, number, fields in rows:
        if isinstance(fields, dict) and _refers(fields):
            if images is None:
                images = _images(again)
            fields["image"] = images.get(fields["image"], fields["image"])
        yield line, number, fields


def _refers(fields: dict[str, Any]) -> bool:
    """Whether the `image` of a row may be the index of another."""
    return "index" in fields and fields.get("image", "").isdecimal() and len(fields["image"]) <= _MAX_INDEX


def _images(again: Callable[[], Iterator[Numbered]]) -> dict[str, str]:
    """The images that other rows name, by the index of their own row."""
    named = {fields["image"] for _, _, fields in again() if isinstance(fields, dict) and _refers(fields)}
    own = (fields for _, _, fields in again() if isinstance(fields, dict) and len(fields.get("image", "")) > _MAX_INDEX)
    return {fields["index"]: fields["image"] for fields in own if fields["index"] in named}


def _rows(reader: Any, names: tuple[str, ...], delimiter: str, skipped: int) -> Iterator[Numbered]:
    number = 0
    while True:
        line = skipped + reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except UnicodeDecodeError as error:
            fault = UnreadError(f"line {line} is not UTF-8: {clause(error)}", "iconv -t UTF-8 converts it")
            yield line, number + 1, fault
            return
        except OSError as error:
            yield line, number + 1, UnreadError(f"line {line} cannot be read: {clause(error)}")
            return
        except csv.Error as error:
            number += 1
            reason = f"a quote within quotes is written twice ({clause(error)})"
            if "unexpected end" in str(error):
                reason = "its text in quotes has no end"
            yield line, number, DataError(f"line {line}: {reason}")
            continue
        if not any(cell.strip() for cell in cells):
            continue
        number += 1
        if any(cell.strip() for cell in cells[len(names) :]):
            sentence = f"line {line}: it has {len(cells)} cells, and there are {len(names)} columns"
            yield line, number, DataError(sentence, f"put a text that holds {delimiter!r} in double quotes")
            continue
        padded = itertools.chain(cells, itertools.repeat(""))
        yield line, number, dict(zip(names, padded, strict=False))


def _decoded(file: IO[bytes]) -> Iterator[str]:
    """The lines of a file with their ends, also those of an old Mac; read no further than they are asked for."""
    encoding = "utf-8-sig"
    while line := file.readline(_MAX_CELL):
        yield from filter(None, _OLD_END.split(line.decode(encoding)))
        encoding = "utf-8"
