"""Whether plain values, as YAML and `--set` give them, fit a Struct: every misfit, in plain English.

msgspec stops at the first and says ``Expected `float`, got `str` - at `$.learning_rate` ``. `faults` goes down into
structs, mappings and lists, and has msgspec convert one value after the other (`_misfit`).
"""

import types
from collections.abc import Iterator, Mapping
from math import isfinite
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import inspect

from virc.config.dotted import Path
from virc.core.errors import UsageError
from virc.core.text import did_you_mean, nearest, plain


class Fault(msgspec.Struct, frozen=True):
    """One thing that is wrong; `path` is where, or where it should be."""

    path: Path
    message: str
    hint: str | None = None


class Missing(Fault, frozen=True):
    """A key without which the rest has no meaning."""


class Unknown(Fault, frozen=True):
    """A key that nobody reads; `known` are those that may be in its place."""

    known: tuple[str, ...] = ()


def check_arguments(arguments: msgspec.Struct, *, without: tuple[str, ...] = ()) -> None:
    """Check the values that a Python caller gave: a Struct checks none of its fields when it is made.

    Raises:
        UsageError: a value is not of its field's type, or out of its bounds.
    """
    given = {name: getattr(arguments, name) for name in arguments.__struct_fields__ if name not in without}
    for fault in faults(msgspec.to_builtins(given), type(arguments)):
        if not isinstance(fault, Missing):
            raise UsageError(fault.message, fault.hint)


def fields_given(kind: type[msgspec.Struct], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of a caller's arguments that are fields of a Struct."""
    return {name: given[name] for name in kind.__struct_fields__ if name in given}


def faults(value: object, kind: Any, path: Path = (), noun: str = "key") -> Iterator[Fault]:
    """Everything in plain values that `msgspec.convert(..., strict=False)` would refuse, and infinite or NaN numbers.

    `noun` is what errors call a key.
    """
    members = _members(kind)
    struct = next((each for each in members if _is_struct(each)), None)
    if isinstance(value, Mapping) and struct:
        yield from _faults_of_struct(value, struct, path, noun)
        return
    mapping = next((get_args(each) for each in members if _is_mapping(each)), None)
    if isinstance(value, Mapping) and mapping:
        kind_of_key, kind_of_value = mapping
        for key, each in value.items():
            yield from _misfit(key, kind_of_key, (*path, key), f"the name {'.'.join((*path, key))}")
            yield from faults(each, kind_of_value, (*path, key), noun)
        return
    tuples = [get_args(each) for each in members if get_origin(each) is tuple]
    kinds_of_items = next((each for each in tuples if ... not in each), ())  # tuple[int, str]
    if isinstance(value, list) and kinds_of_items and len(value) == len(kinds_of_items):
        for number, (each, kind_of_item) in enumerate(zip(value, kinds_of_items, strict=True), 1):
            yield from _misfit(each, kind_of_item, path, f"value {number} of {'.'.join(path)}")
        return
    items = next((each[0] for each in tuples if ... in each), None)  # tuple[int, ...]
    if isinstance(value, list) and items:
        for number, each in enumerate(value):
            if isinstance(each, Mapping) and any(map(_is_struct, _members(items))):
                yield from faults(each, items, (*path, str(number)), noun)
            else:
                yield from _misfit(each, items, path, f"each of {'.'.join(path)}")
        return
    yield from _misfit(value, kind, path, ".".join(path) or "the whole")


def kind_at(kind: Any, path: Path) -> Any:
    """The type of the value at a path below a type; None: there is none."""
    for key in path:
        inner = _members(kind)
        struct = next((each for each in inner if _is_struct(each)), None)
        values = next((get_args(each) for each in inner if _is_mapping(each)), None)
        hints = _fields(struct) if struct else {}
        kind = hints.get(key, values[1] if values else None)
    return kind


def takes_text(kind: Any) -> bool:
    return str in _members(kind)


def _faults_of_struct(
    value: Mapping[str, object], kind: type[msgspec.Struct], path: Path, noun: str
) -> Iterator[Fault]:
    known = _fields(kind)
    fields_fit = True
    for key, inner in value.items():
        if key in known:
            for fault in faults(inner, known[key], (*path, key), noun):
                fields_fit = False
                yield fault
        else:
            message = f"unknown {noun} {'.'.join((*path, key))!r}"
            yield Unknown((*path, key), message, did_you_mean(key, known), tuple(known))
    for field in msgspec.structs.fields(kind):
        if field.required and (name := field.encode_name) not in value:
            fields_fit = False
            yield Missing((*path, name), f"{'.'.join((*path, name))} is missing")
    if fields_fit and hasattr(kind, "__post_init__"):
        try:  # each field is right by itself: the Struct checks whether they go together
            msgspec.convert({key: value[key] for key in value if key in known}, kind, strict=False)
        except msgspec.ValidationError as error:
            message = str(error).partition(" - at `$")[0]
            if path:
                yield Fault(path, f"{'.'.join(path)}: {message}")
            else:  # of the whole file: its place is the first field that the message names
                yield Fault(tuple(name for name in message.split("`")[1:2] if name in value), message)


def _fields(kind: type[msgspec.Struct]) -> dict[str, Any]:
    """Key, as it is written, -> the type of the field."""
    hints = get_type_hints(kind, include_extras=True)
    return {field.encode_name: hints[field.name] for field in msgspec.structs.fields(kind)}


def _misfit(value: object, kind: Any, path: Path, name: str) -> Iterator[Fault]:
    try:
        msgspec.convert(value, kind, strict=False)
    except msgspec.ValidationError:
        yield Fault(path, f"{name} must be {wanted_kind(kind)}, not {shown(value)}", _hint(value, kind))
        return
    if endless(value):
        yield Fault(path, f"{name} must be a number with an end, not {shown(value)}")


def endless(value: object) -> bool:
    """Whether a number that is infinite or none stands anywhere in the value; JSON has no such numbers."""
    match value:
        case float():
            return not isfinite(value)
        case Mapping():
            return any(endless(each) for each in value.values())
        case list():
            return any(endless(each) for each in value)
    return False


def _hint(value: object, kind: Any) -> str | None:
    literals = (info for info in map(inspect.type_info, _members(kind)) if isinstance(info, inspect.LiteralType))
    words = [each for info in literals for each in info.values if isinstance(each, str)]
    if isinstance(value, str) and words:
        near = nearest(value, words)
        return f"did you mean {near!r}?" if near else None
    if takes_text(kind) and isinstance(value, bool | int | float):
        return "put it in quotes"
    return None


def shown(value: object) -> str:
    match value:
        case None:
            return "nothing"
        case bool():
            return str(value).lower()
        case int() | float():
            return plain(value, 40) if isinstance(value, float) or abs(value) < 10**40 else "an endless number"
        case str():
            return repr(plain(value, 60))
        case Mapping():
            return "lines of the form `key: value`"
    return f"a list of {len(value)}" if isinstance(value, list) else "a list"


def wanted_kind(kind: Any) -> str:
    return _worded(inspect.type_info(kind))


_PLAIN: Mapping[type[inspect.Type], str] = {
    inspect.IntType: "a whole number",
    inspect.FloatType: "a number",
    inspect.BoolType: "true or false",
    inspect.NoneType: "null",
    inspect.StrType: "text",
}


def _worded(info: inspect.Type) -> str:
    match info:
        case inspect.Metadata(extra_json_schema={"description": str(described)}):
            return described
        case inspect.LiteralType():
            return _either([f"`{each}`" for each in info.values])
        case inspect.UnionType():
            return _either([_worded(each) for each in info.types])
        case inspect.VarTupleType() | inspect.TupleType():
            return _listed(info)
        case inspect.StructType():
            return f"lines of the form `key: value` ({', '.join(field.encode_name for field in info.fields)})"
    return _PLAIN.get(type(info), "lines of the form `key: value`") + _range(info)


def _listed(info: inspect.VarTupleType | inspect.TupleType) -> str:
    if isinstance(info, inspect.VarTupleType):
        return f"a list, such as [{_worded(info.item_type).replace(' or ', ', ')}]"
    return f"a list of {len(info.item_types)}, such as [{', '.join(map(_worded, info.item_types))}]"


def _range(info: inspect.Type) -> str:
    if not isinstance(info, inspect.IntType | inspect.FloatType):
        return ""
    if info.gt is not None:
        return f" above {info.gt}" + (f" and at most {info.le}" if info.le is not None else "")
    if info.ge is not None and info.le is not None:
        return f" from {info.ge} to {info.le}"
    if info.ge is not None and info.lt is not None:
        return f" of at least {info.ge} and below {info.lt}"
    return f" of at least {info.ge}" if info.ge is not None else ""


def _either(words: list[str]) -> str:
    return " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _members(kind: Any) -> tuple[Any, ...]:
    """The types a value may be of, without what is annotated to them."""
    if get_origin(kind) is Annotated:
        return _members(get_args(kind)[0])
    if get_origin(kind) in (Union, types.UnionType):
        return tuple(member for each in get_args(kind) for member in _members(each))
    return (kind,)


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _is_mapping(kind: Any) -> bool:
    origin = get_origin(kind)
    return isinstance(origin, type) and issubclass(origin, Mapping)
