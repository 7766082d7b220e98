"""Fields that a user puts into requests to an endpoint, and how servers are told whether to think."""

import json
from collections.abc import Mapping
from typing import Any

from virc.backends.openai.providers import ways_to_think
from virc.core.errors import UsageError

_OURS = ("messages", "model", "stream", "stream_options", "n", "tools")


def fields_of(text: str | None) -> dict[str, Any]:
    """Return the fields in a text of JSON. Raises UsageError: it is no object, or sets what virc itself sets."""
    try:
        fields = json.loads(text or "{}")
    except (ValueError, RecursionError):
        fields = None
    example = """--extra-body '{"chat_template_kwargs": {"enable_thinking": false}}'"""
    if not isinstance(fields, dict):
        raise UsageError(f"--extra-body must be a JSON object, not {text!r:.80}", example)
    if ours := [name for name in _OURS if name in fields]:
        raise UsageError(f"--extra-body must not set {', '.join(ours)}, which virc sets", example)
    return fields


def thinking(switch: str | None, endpoint: str, kind: str) -> dict[str, Any]:
    """Return the fields by which a server is told to think (`on`) or not (`off`); None: it decides."""
    return {} if switch is None else ways_to_think(endpoint, kind)[0 if switch == "on" else 1]


def check_thinking(switch: str | None, fields: Mapping[str, Any], endpoint: str, kind: str) -> None:
    """Raise UsageError where a user's `fields` contradict the switch: they do the opposite by the server's own way."""
    if switch is None:
        return
    off = _values(ways_to_think(endpoint, kind)[1])
    given = _values(fields)
    for path, value in off.items():
        # Null takes the field out; of values that are not those of `off` a server may have many, as of an effort.
        if given.get(path) is not None and (given[path] == value) != (switch == "off"):
            sentence = f"--thinking {switch} contradicts {'.'.join(path)}={json.dumps(given[path])} in --extra-body"
            raise UsageError(sentence, "leave out one of the two")


def _values(fields: Mapping[str, Any], place: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    """Return the values of nested objects by the names on the way to each."""
    values: dict[tuple[str, ...], Any] = {}
    for name, value in fields.items():
        path = (*place, name)
        values |= _values(value, path) if isinstance(value, Mapping) else {path: value}
    return values


def merged(request: Mapping[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    """Return a request with further fields; those of objects are merged, and null takes a field out."""
    whole = dict(request)
    for name, value in extra.items():
        before = whole.get(name)
        if value is None:
            whole.pop(name, None)
        else:
            is_nested = isinstance(value, Mapping) and isinstance(before, Mapping)
            whole[name] = merged(before, value) if is_nested else value  # type: ignore[arg-type]
    return whole
