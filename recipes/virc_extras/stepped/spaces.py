"""Actions as JSON: the schema of an action space, and the action that a value of it means."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import spaces

from virc.core.errors import ConfigError
from virc.reasoning.calls import ToolError


def schema(  # noqa: PLR0911 - one kind of space each
    space: Any, names: Sequence[str] = ()
) -> dict[str, Any]:
    """The JSON schema of the actions of a space.

    Args:
        space: Discrete, MultiDiscrete, MultiBinary, Box, Text, Dict or Tuple.
        names: of the actions of a Discrete space, in order; none: they are numbers.

    Raises:
        ConfigError: the space is another, or has not as many actions as names.
    """
    if names and not (isinstance(space, spaces.Discrete) and space.n == len(names)):
        raise ConfigError(f"{len(names)} actions are named, and the action space is {space}")
    match space:
        case spaces.Discrete() if names:
            return {"type": "string", "enum": [*names]}
        case spaces.Discrete():
            return {"type": "integer", "minimum": int(space.start), "maximum": int(space.start + space.n - 1)}
        case spaces.MultiDiscrete():
            return _numbers(space.start, space.start + space.nvec - 1)
        case spaces.MultiBinary():
            return _numbers(np.zeros(space.shape, int), np.ones(space.shape, int))
        case spaces.Box():
            return _numbers(space.low, space.high)
        case spaces.Text():
            pattern = f"^[{re.escape(space.characters)}]*$" if space.characters else "^$"
            return {
                "type": "string", "minLength": space.min_length, "maxLength": space.max_length, "pattern": pattern,
            }  # fmt: skip
        case spaces.Dict():
            parts = {name: schema(each) for name, each in space.spaces.items()}
            return {"type": "object", "properties": parts, "required": [*parts], "additionalProperties": False}
        case spaces.Tuple():
            return _sequence([schema(each) for each in space.spaces])
    raise ConfigError(f"actions of the space {space} cannot be written as JSON")


def action(space: Any, value: object, names: Sequence[str] = ()) -> Any:
    """The action that a JSON value means; one of `names` may be given by its number too. Raises ToolError."""
    try:
        found = _converted(space, names.index(value) if isinstance(value, str) and value in names else value)
        if space.contains(found):
            return found
    except (ValueError, TypeError, KeyError, OverflowError):
        pass
    among = f"one of {', '.join(names)}" if names else f"of the action space {space}"
    raise ToolError(f"the action {str(value)[:60]!r} is not {among}", "arguments")


def _converted(space: Any, value: Any) -> Any:
    match space:
        case spaces.Discrete():
            if isinstance(value, bool) or value != int(value):
                raise ValueError
            return space.dtype.type(value)
        case spaces.Box() | spaces.MultiDiscrete() | spaces.MultiBinary():
            given = np.asarray(value)
            if given.dtype.kind not in "if":
                raise ValueError
            return _cast(given, space.dtype)
        case spaces.Dict():
            if set(value) != set(space.spaces):
                raise ValueError
            return {name: _converted(each, value[name]) for name, each in space.spaces.items()}
        case spaces.Tuple():
            return tuple(_converted(each, part) for each, part in zip(space.spaces, value, strict=True))
    return value


def _cast(given: Any, kind: Any) -> Any:
    made = given.astype(kind)
    if not np.issubdtype(kind, np.floating) and not np.array_equal(made, given):
        raise ValueError  # it was over the limits of the type, or 1.5; 1.0 is an integer in JSON schemas
    return made


def _numbers(low: Any, high: Any) -> dict[str, Any]:
    """The schema of numbers in nested lists, each within its own limits."""
    if low.ndim and len(low) and (np.any(low != low[0]) or np.any(high != high[0])):
        return _sequence([_numbers(*each) for each in zip(low, high, strict=True)])
    if low.ndim:
        items = _numbers(low[0], high[0]) if len(low) else {}
        return {"type": "array", "items": items, "minItems": len(low), "maxItems": len(low)}
    kind, of_python = ("number", float) if np.issubdtype(low.dtype, np.floating) else ("integer", int)
    # as they are written: 0.7 in 32 bits is a little under 0.7, which the space takes
    limits = {name: of_python(str(each[()])) for name, each in (("minimum", low), ("maximum", high))}
    return {"type": kind} | {at: each for at, each in limits.items() if np.isfinite(each)}


def _sequence(items: list[dict[str, Any]]) -> dict[str, Any]:
    return {"type": "array", "prefixItems": items, "minItems": len(items), "maxItems": len(items)}
