"""Rows of a Python caller: mappings, pairs, data frames, data sets; their pictures may be in memory."""

import math
from collections.abc import Iterable, Iterator, Mapping
from os import PathLike
from typing import Any

import msgspec

from virc.core.errors import DataError, UsageError
from virc.solving.image_source import Picture
from virc.solving.memory_images import is_in_memory
from virc.solving.rows import ProblemRow
from virc.solving.sources.row_files import rows_of

_HINT = 'rows are like {"image": "figure.png", "question": "..."}, or ("figure.png", "...")'


def read_python_rows(rows: Iterable[object], trusted: bool = False) -> Iterator[tuple[object, ProblemRow]]:
    """The rows of an iterable as they are given and as they are solved, each read when it is asked for.

    A wrong one comes with its fault.

    Args:
        rows: mappings with `image` or `images`, `question` and what a file of rows may have; pairs of an image, or a
            list of them, and a question; a data frame of pandas or polars. Rows without an id have their position.
    """
    for position, row in enumerate(_each(rows)):
        pictures: dict[str, Picture] = {}
        try:
            plain = {str(name): _plain(value, pictures) for name, value in _mapping(row).items()}
            content: Any = {name: value for name, value in plain.items() if value is not None}
        except DataError as error:
            content = error
        (read,) = rows_of([(position + 1, position, content)])
        fault = read.fault and DataError(read.fault.message.removeprefix(f"line {position + 1}: "), _HINT)
        yield row, msgspec.structs.replace(read, digest=None, fault=fault, memory=pictures, trusted=trusted)


def check_rows(rows: object) -> None:
    several = isinstance(rows, str | PathLike) or hasattr(rows, "__iter__") or hasattr(rows, "__getitem__")
    if isinstance(rows, Mapping | bytes) or not several:
        raise UsageError(f"rows are an iterable of rows, not {type(rows).__name__}", _HINT)


def _each(rows: Any) -> Iterable[object]:
    """The rows; those of a data frame, which gives the names of its columns, as mappings."""
    if hasattr(rows, "itertuples"):  # pandas
        names = [*rows.columns]
        return (dict(zip(names, values, strict=True)) for values in rows.itertuples(index=False, name=None))
    if hasattr(rows, "iter_rows"):  # polars
        named: Iterable[object] = rows.iter_rows(named=True)
        return named
    given: Iterable[object] = rows
    return given


def _mapping(row: Any) -> Mapping[object, Any]:
    if isinstance(row, tuple) and len(row) == 2 and hasattr(row[1], "to_dict"):  # of DataFrame.iterrows
        row = row[1]
    for name in ("_asdict", "to_dict"):  # of a named tuple, of a row of pandas
        if hasattr(row, name):
            row = getattr(row, name)()
    if isinstance(row, tuple | list) and len(row) == 2:
        row = {"images" if isinstance(row[0], list | tuple) else "image": row[0], "question": row[1]}
    if not isinstance(row, Mapping):
        raise DataError(f"a row is a mapping or a pair of an image and a question, not {type(row).__name__}", _HINT)
    return row


def _plain(value: Any, pictures: dict[str, Picture]) -> Any:
    """A value as JSON has it; a picture in memory is a name, under which `pictures` has it."""
    if isinstance(value, str):
        return str(value)  # numpy has one of its own
    as_list = getattr(value, "tolist", None)
    if as_list and getattr(value, "ndim", 2) < 2:
        value = as_list()  # a number or a list of numpy's
    if is_in_memory(value):
        name = f"\0picture {len(pictures)}"
        pictures[name] = value
        return name
    if isinstance(value, list | tuple):
        return [_plain(each, pictures) for each in value]
    if isinstance(value, Mapping):
        return {str(name): each if isinstance(each, bytes) else _plain(each, pictures) for name, each in value.items()}
    if isinstance(value, bool | int) or (isinstance(value, float) and not math.isnan(value)):
        return value
    return None if str(value) in ("None", "nan", "<NA>", "NaT") else str(value)
