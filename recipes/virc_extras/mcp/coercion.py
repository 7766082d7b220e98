"""Arguments of a call that a client wrote as text: read as what the schema has, where that fits."""

import json
import re
from collections.abc import Mapping
from copy import deepcopy
from typing import Any, TypeVar

import msgspec

_T = TypeVar("_T", bound=msgspec.Struct)
_MAX_READ = 64
"""Values of a call that are read in another way than they were written."""
_MAX_TEXT = 2**16  # characters of a list that is written as text


def converted(arguments: Mapping[str, Any], kind: type[_T]) -> _T:
    """Return the arguments as a type: texts as the JSON in them, whole numbers without their fraction.

    Null and an empty text stand for an argument that is left out, if it may be.

    Raises:
        msgspec.ValidationError: a value fits in no such reading; the error is that of the value as it was given.
    """
    optional = {field.name for field in msgspec.structs.fields(kind) if not field.required}
    filled = {name: each for name, each in arguments.items() if not (name in optional and each in (None, "", "null"))}
    given, faults = deepcopy(filled), list[msgspec.ValidationError]()
    while True:
        try:
            return msgspec.convert(given, kind)
        except msgspec.ValidationError as error:
            faults.append(error)
            keys = [int(key) if key.isdecimal() else key for key in re.findall(r"\w+", str(error).partition("`$")[2])]
            if len(faults) > _MAX_READ or not keys or not _read_again(given, keys, str(error)):
                raise faults[0] from None


def _read_again(given: Any, keys: list[str | int], fault: str) -> bool:
    """Put the other reading of a value in its place; False: it has none."""
    *path, last = keys
    for key in path:
        given = given[key]
    value = given[last]
    if isinstance(value, float) and value.is_integer() and "`int`" in fault:
        given[last] = int(value)
    elif isinstance(value, str) and "`str`" in fault.partition("got")[2] and len(value) <= _MAX_TEXT:
        try:
            read = json.loads(value)
        except (ValueError, RecursionError):
            read = [value] if "`array`" in fault else value
        given[last] = read
    return type(given[last]) is not type(value)
