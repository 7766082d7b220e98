"""Rows of parquet files: read one at a time from files that others made, and written in groups of bounded size."""

import json
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache, partial
from pathlib import Path
from struct import pack
from typing import Any

from virc.core.errors import DataError, UnreadError, errors_as
from virc.core.extras import require
from virc.core.text import clause

MAGIC = b"PAR1"
MAX_BATCH_BYTES = 8 * 2**20
MAX_BATCH_ROWS = 256
MAX_ROW_BYTES = 2**30
GROUP_BYTES = 32 * 2**20
GROUP_ROWS = 4096
_DICTIONARY_BYTES = 2 * GROUP_BYTES
_COMPACT_BYTES = 2 * GROUP_BYTES

Fields = dict[str, Any]
Read = tuple[int, Fields | DataError]
"""A row's number in the file, from 1, and its fields or why it has none."""


def is_parquet(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            start = file.read(4)
            file.seek(-4, 2)
            return start == file.read(4) == MAGIC
    except (OSError, ValueError):
        return False


def load() -> Any:
    """`pyarrow.parquet`, which is imported only where it is used. Raises SetupError: it is not installed."""
    require("pyarrow", "a parquet file", "data")
    import pyarrow.parquet  # type: ignore[import-untyped, unused-ignore]

    return pyarrow.parquet


def open_file(path: Path, as_dictionaries: bool = False) -> Any:
    """The file as pyarrow's `ParquetFile`, of which nothing but the footer is read.

    With `as_dictionaries`, texts and bytes come as pyarrow's dictionaries, which hold a repeated value once.

    Raises:
        DataError: it is not there, not parquet, or its footer is damaged.
    """
    parquet = load()
    try:
        metadata = parquet.read_metadata(path)
        texts = [
            column.path
            for column in _columns(metadata)
            if column.physical_type == "BYTE_ARRAY" and column.logical_type.type != "JSON"
        ]
        file = parquet.ParquetFile(
            path,
            metadata=metadata,
            read_dictionary=texts if as_dictionaries else None,
            buffer_size=2**16,
            pre_buffer=False,  # else whole groups are held
        )
        size = path.stat().st_size
    except FileNotFoundError:
        raise DataError(f"there is no file {path}") from None
    except Exception as error:  # pyarrow raises nearly everything on hostile bytes
        raise DataError(f"{path} cannot be read as parquet: {clause(error)}") from None
    if metadata.num_rows > size:  # a row of verl's takes more than a byte, also where it repeats
        raise DataError(f"{path} claims {metadata.num_rows} rows, more than it has bytes")
    return file


def column_names(path: Path) -> dict[str, bool]:
    """Dotted names of the columns, down to the values; for each whether it holds bytes that are not text."""
    return {
        column.path: column.physical_type == "BYTE_ARRAY" and column.logical_type.type == "NONE"
        for column in _columns(open_file(path).metadata)
    }


def read_rows(path: Path, columns: Iterable[str] | None = None, start: int = 1) -> Iterator[Read]:
    """The rows of a file in order, in bounded memory.

    Where a group of rows cannot be read, its first row alone comes, with the fault of all of them.

    Args:
        columns: dotted names of those to read; None reads all.
        start: number of the first row to read; groups before it are passed over.
    """
    file, compact = open_file(path), open_file(path, as_dictionaries=True)  # the second for small groups, see `_group`
    chosen = None if columns is None else list(columns)
    number = 1
    for index in range(file.num_row_groups):
        end = number + max(0, file.metadata.row_group(index).num_rows)
        next_row = max(number, start)
        try:
            for fields in _group(file, compact, index, chosen, next_row - number) if next_row < end else ():
                yield next_row, fields
                next_row += 1
        except DataError as error:
            others = end - 1 - next_row
            rows = f"rows {next_row} to {end - 1}" if others else f"row {next_row}"
            yield next_row, UnreadError(f"{rows} cannot be read: {error.message}", rows=others)
        number = end


def write_rows(path: Path, schema: Any, rows: Iterable[Fields]) -> int:
    """Write rows, as many in a group as `GROUP_BYTES` hold; returns how many there were.

    Repeated values (an image in every row of its problem) are stored once a group. The schema is pyarrow's.
    """
    parquet = load()
    written, size, group = 0, 0, list[Fields]()
    with parquet.ParquetWriter(path, schema, compression="zstd", dictionary_pagesize_limit=_DICTIONARY_BYTES) as writer:
        for fields in rows:
            more = size_of(fields)
            if more > MAX_ROW_BYTES:
                raise DataError(f"row {written + 1} would be over {MAX_ROW_BYTES >> 20} MiB")
            if group and (size + more > GROUP_BYTES or len(group) == GROUP_ROWS):
                writer.write_table(_table(group, schema))
                group, size = [], 0
            group.append(fields)
            size += more
            written += 1
        if group or not written:
            writer.write_table(_table(group, schema))
    return written


def size_of(value: object) -> int:
    if isinstance(value, str | bytes):
        return len(value) + 4
    if isinstance(value, dict):
        return sum(map(size_of, value.values()))
    return 4 + sum(map(size_of, value)) if isinstance(value, list | tuple) else 8


def _table(rows: list[Fields], schema: Any) -> Any:
    import pyarrow  # type: ignore[import-untyped, unused-ignore]

    caught = (ValueError, TypeError, OverflowError, pyarrow.ArrowException)
    with errors_as(DataError, "a row cannot be written as parquet", caught=caught):
        return pyarrow.Table.from_pylist(rows, schema=schema)


def _columns(metadata: Any) -> list[Any]:
    return [metadata.schema.column(index) for index in range(metadata.num_columns)]


def _group(file: Any, compact: Any, index: int, columns: list[str] | None, skip: int) -> Iterator[Fields | DataError]:
    """The rows of one row group but for the first `skip`; DataError where its bytes are damaged."""
    try:
        group = file.metadata.row_group(index)
        if group.total_byte_size <= _COMPACT_BYTES:
            file, size = compact, GROUP_ROWS
        else:  # of large pages every batch would copy the whole dictionary
            size = min(16, max(1, MAX_BATCH_BYTES * group.num_rows // group.total_byte_size))
        for batch in file.iter_batches(size, row_groups=[index], columns=columns, use_threads=False):
            for start in range(min(skip, batch.num_rows), batch.num_rows, MAX_BATCH_ROWS):
                yield from each_row(batch.slice(start, MAX_BATCH_ROWS))
            skip = max(0, skip - batch.num_rows)
    except Exception as error:  # as in open_file
        raise DataError(clause(error)) from None


def each_row(batch: Any) -> Iterator[Fields | DataError]:
    """Each row of a batch; apart from the others where they are large, or one cannot become Python values."""
    if batch.num_rows > 1:
        try:
            whole = _fields(batch) if _expanded(batch) <= 4 * MAX_BATCH_BYTES else None
        except Exception:  # as in open_file; below it is known in which row
            whole = None
        if whole is None:
            for row in range(batch.num_rows):
                yield from each_row(batch.slice(row, 1))
        else:
            yield from whole
        return
    try:
        if _expanded(batch) > MAX_ROW_BYTES:
            raise DataError(f"it is over {MAX_ROW_BYTES >> 20} MiB")
        yield from _fields(batch)
    except Exception as error:  # no UTF-8, dates out of range, fields of one name
        yield DataError(clause(error))


def _fields(batch: Any) -> list[Fields]:
    """The rows of a batch; JSON within them is decoded, decimals are numbers, and times are texts."""
    rows: list[Fields] = batch.to_pylist(maps_as_pydicts="strict")
    for field in batch.schema:
        if decode := _decoder(field.type):
            for row in rows:
                row[field.name] = decode(row[field.name])
    features = _features((batch.schema.metadata or {}).get(b"huggingface", b""))
    return rows if features is None else [_with_names(row, features) for row in rows]


@lru_cache(8)
def _features(about: bytes) -> Any:
    """The features that `datasets` notes with a table; None where no class is among them."""
    return json.loads(about).get("info", {}).get("features") if b'"ClassLabel"' in about else None


def _with_names(value: Any, feature: Any) -> Any:
    """A value of a feature of `datasets`, with names in place of the numbers of classes; None for no class (-1)."""
    if isinstance(feature, list):  # as datasets wrote lists before 4.0
        feature = {"feature": feature[0]}
    if not isinstance(feature, dict):
        return value
    inner = feature.get("feature", feature)
    if isinstance(value, dict):  # a Sequence of objects is an object of lists
        fields = inner if isinstance(inner, dict) and feature.get("_type") == "Sequence" else feature
        return {key: _with_names(each, fields.get(key)) for key, each in value.items()}
    if isinstance(value, list):
        return [_with_names(each, inner) for each in value]
    names = feature.get("names") if feature.get("_type") == "ClassLabel" else None
    if not isinstance(names, list) or type(value) is not int:
        return value
    return names[value] if 0 <= value < len(names) else None


@lru_cache(256)
def _decoder(kind: Any) -> Callable[[Any], Any] | None:
    """What makes JSON's values of those of an Arrow type (datasets 5.2.0, DuckDB 2.0.1); None where they are some."""
    import pyarrow

    scalar: Callable[[Any], Any] | None = None
    if isinstance(kind, pyarrow.JsonType):
        scalar = json.loads
    elif pyarrow.types.is_decimal(kind):
        scalar = float if kind.scale > 0 else int
    elif pyarrow.types.is_temporal(kind) or isinstance(kind, pyarrow.UuidType):
        scalar = str
    elif pyarrow.types.is_float32(kind) or pyarrow.types.is_float16(kind):
        scalar = partial(_shortest, *(("f", range(6, 10)) if pyarrow.types.is_float32(kind) else ("e", range(3, 6))))
    if scalar:
        return lambda value: value if value is None else scalar(value)
    if pyarrow.types.is_struct(kind):
        decoders = {field.name: decode for field in kind if (decode := _decoder(field.type))}

        def decode_fields(value: Any) -> Any:
            return value and {**value, **{name: decode(value[name]) for name, decode in decoders.items()}}

        return decode_fields if decoders else None
    if pyarrow.types.is_map(kind):
        of_items = _decoder(kind.item_type)
        return of_items and (lambda value: value and {key: of_items(each) for key, each in value.items()})
    if hasattr(kind, "value_type") and (decode := _decoder(kind.value_type)):
        is_list = pyarrow.types.is_nested(kind) and not pyarrow.types.is_run_end_encoded(kind)
        return (lambda value: value and [*map(decode, value)]) if is_list else decode
    return None


def _shortest(code: str, digits: Iterable[int], value: float) -> float:
    """The number of the fewest digits that is stored as this one: 0.1 in 32 bits is 0.10000000149011612 in 64."""
    stored = pack(code, value)
    return next((short for count in digits if pack(code, short := float(f"{value:.{count}g}")) == stored), value)


def _expanded(array: Any) -> int:
    """Bytes of an array (or batch) when every value stands for itself; a few KB of parquet can hold terabytes."""
    import pyarrow

    if isinstance(array, pyarrow.RecordBatch):
        return sum(map(_expanded, array.columns))
    if isinstance(array, pyarrow.DictionaryArray):
        lengths = _lengths(array.dictionary)
        return 8 * len(array) + (0 if lengths is None else _total(lengths.take(array.indices)))
    if pyarrow.types.is_string_view(array.type) or pyarrow.types.is_binary_view(array.type):
        return 16 * len(array) + _total(_lengths(array))
    if pyarrow.types.is_run_end_encoded(array.type):
        return len(array) * _expanded(array.values.slice(array.find_physical_offset(), array.find_physical_length()))
    if pyarrow.types.is_union(array.type):
        raise DataError(f"it has values of several types ({array.type}): write them as texts, or as JSON")
    if pyarrow.types.is_nested(array.type):
        if pyarrow.types.is_map(array.type):  # which pyarrow 26 does not flatten
            first, last = array.offsets[0].as_py(), array.offsets[-1].as_py()
            parts = [each.slice(first, last - first) for each in (array.keys, array.items)]
        else:
            parts = array.flatten()
        return 8 * len(array) + sum(map(_expanded, parts if isinstance(parts, list) else [parts]))
    size: int = array.nbytes
    return size


def _total(numbers: Any) -> int:
    import pyarrow.compute  # type: ignore[import-untyped, unused-ignore]

    return pyarrow.compute.sum(numbers).as_py() or 0


def _lengths(array: Any) -> Any:
    """The bytes of each text, as pyarrow's array; None for values of a fixed size."""
    import pyarrow
    import pyarrow.compute  # type: ignore[import-untyped, unused-ignore]

    kinds = pyarrow.types
    if kinds.is_string_view(array.type) or kinds.is_binary_view(array.type):  # pyarrow 26.0.1 measures no views
        views = memoryview(array.buffers()[1]).cast("i")[4 * array.offset : 4 * (array.offset + len(array)) : 4]
        return pyarrow.array(views.tolist(), pyarrow.int64())
    has_texts = kinds.is_string(array.type) or kinds.is_binary(array.type)
    has_texts = has_texts or kinds.is_large_string(array.type) or kinds.is_large_binary(array.type)
    return pyarrow.compute.binary_length(array).cast(pyarrow.int64()) if has_texts else None
