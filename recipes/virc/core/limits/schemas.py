"""The functions of the process that validates by schemas and searches by patterns of others (`bounded`)."""

import json
import re
from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache
from typing import Any

from jsonschema import Draft202012Validator, SchemaError, ValidationError  # type: ignore[import-untyped]
from jsonschema.validators import extend  # type: ignore[import-untyped]
from jsonschema_specifications import REGISTRY  # type: ignore[import-untyped]
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

MAX_BYTES = 2**29
_MAX_MESSAGE = 160  # characters
_TRIED: tuple[Any, ...] = ({}, [], "", 0, None)
"""Values that each new schema is tried on: most of those that do not end, or take too long, do so on one."""


def fault(schema: Any) -> str | None:
    return _validator(json.dumps(schema))[1]


def misfit(schema: Any, value: Any) -> str | None:
    try:
        error = next(_validator(json.dumps(schema))[0].iter_errors(value), None)
    except MemoryError:
        raise
    except RecursionError:
        return "it is too deep"
    except Exception as failure:  # a validator that was written for sane schemas may fail in any way
        return _shortened(f"it cannot be validated against the schema: {type(failure).__name__}")
    if error is None:
        return None
    place = ".".join(map(str, error.absolute_path))
    return f"{place}: {_shortened(error.message)}" if place else _shortened(error.message)


def find(pattern: str, text: str) -> list[str | None] | None:
    return [found[0], *found.groups()] if (found := re.search(pattern, text)) else None


def _multiple_of(validator: Any, step: float, value: Any, _: Any) -> Iterator[Any]:
    """Compare by decimals, as they are written: jsonschema 4.26 divides floats, and 0.07 is no multiple of 0.01."""
    if validator.is_type(value, "number") and Fraction(str(value)) % Fraction(str(step)):
        yield ValidationError(f"{value!r} is not a multiple of {step}")


_WithDecimals = extend(Draft202012Validator, {"multipleOf": _multiple_of})


@lru_cache(32)
def _validator(text: str) -> tuple[Any, str | None]:
    """Return what validates values by a schema, and what is wrong with that. Nothing is loaded for a reference."""
    try:
        schema = json.loads(text)
        Draft202012Validator.check_schema(schema)
        validator = _WithDecimals(schema, registry=REGISTRY)
        root = DRAFT202012.create_resource(schema)
        for reference, resolver in _references(root, REGISTRY.resolver_with_root(root)):
            try:
                resolver.lookup(reference)
            except Unresolvable:
                return None, f"{reference[:_MAX_MESSAGE]!r} refers to what is not in it"
        for value in _TRIED:
            validator.is_valid(value)
    except MemoryError:
        raise
    except SchemaError as error:
        place = ".".join(map(str, error.absolute_path))
        return None, error.message[:_MAX_MESSAGE] + (f", at {place}" if place else "")
    except RecursionError:
        return None, "it refers to itself without an end, or is too deep"
    except Exception as failure:
        return None, _shortened(f"it cannot be read: {type(failure).__name__}")
    return validator, None


def _references(resource: Any, resolver: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(resource.contents, dict):
        references = (resource.contents.get(keyword) for keyword in ("$ref", "$dynamicRef"))
        yield from ((reference, resolver) for reference in references if isinstance(reference, str))
    for each in resource.subresources():
        yield from _references(each, resolver.in_subresource(each))


def _shortened(message: str) -> str:
    return message if len(message) <= _MAX_MESSAGE else f"{message[:_MAX_MESSAGE]}..."
