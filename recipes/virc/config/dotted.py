"""Mappings in mappings, as YAML gives them."""

from collections.abc import Iterator, Mapping
from typing import Any

Path = tuple[str, ...]
"""Keys that lead to a value."""


def leaves(values: Mapping[str, Any], path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every value of nested mappings with its path; an empty mapping is a value."""
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from leaves(value, (*path, key))
        else:
            yield (*path, key), value


def at(values: Mapping[str, Any], path: Path) -> Any:
    for key in path:
        values = values[key]
    return values


def put(values: dict[str, Any], path: Path, value: Any) -> bool:
    """Set the value under these keys; what is no mapping on the way becomes one. Returns whether a mapping went."""
    for key in path[:-1]:
        if not isinstance(values.get(key), dict):
            values[key] = {}
        values = values[key]
    replaced = isinstance(values.get(path[-1]), dict)
    values[path[-1]] = dict(value) if isinstance(value, Mapping) else value
    return replaced


def without(values: Mapping[str, Any], paths: set[Path], at: Path = ()) -> dict[str, Any]:
    """A copy of nested mappings without what stands under these keys; in a list, its number stands for a key."""
    return {key: _without(value, paths, (*at, key)) for key, value in values.items() if (*at, key) not in paths}


def _without(value: Any, paths: set[Path], at: Path) -> Any:
    match value:
        case Mapping():
            return without(value, paths, at)
        case list():
            places = [(*at, str(number)) for number in range(len(value))]
            kept = zip(places, value, strict=True)
            return [_without(each, paths, place) for place, each in kept if place not in paths]
    return value
