"""The part of a client's JSON schema that an engine enforces while it writes; the reply is validated by the whole."""

from collections.abc import Mapping
from typing import Any

_VALUES = {*"type enum const required minItems maxItems title description default $ref $id".split()}
_LIMITS = {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}  # of integers
_SCHEMAS = {"items", "prefixItems", "additionalProperties", "allOf", "anyOf", "oneOf"}
_NAMED = {"properties", "patternProperties", "$defs", "definitions"}
_FORMATS = {"date", "time", "date-time", "duration", "email", "ipv4", "ipv6", "hostname", "uuid"}
_COMBINING = ("$ref", "allOf", "anyOf", "oneOf")
_SHAPES = {"properties", "patternProperties", "items", "prefixItems", "enum", "const"}
_NAMING = {"if", "dependentSchemas"}  # keywords with further names of properties


def enforced(schema: Any) -> Any:
    """Return a schema for the engine that admits what the whole does, but for names and items that it does not mention.

    Grammars of xgrammar 0.2.8 (vLLM 0.24) admit no backslash, quote or newline in a text that has limits, so that LaTeX
    could not be written, no exponent and six decimals in such a number, and of names for the pattern `^x` none but `x`.
    Of `$ref`, `anyOf`, `properties` and the like beside each other they keep one, and close it to the names of the
    others; a name that is only in `required` is banned, and so are the items of an array that says how many. For
    `multipleOf`, vLLM takes llguidance 1.7.6, in which no negative number is a multiple.
    """
    if isinstance(schema, list):
        return [enforced(each) for each in schema]
    if not isinstance(schema, Mapping):
        return schema
    sent = _without_limits(schema)
    combining = [key for key in _COMBINING if key in sent]
    if len(combining) == 1 and not _SHAPES & sent.keys():
        return sent  # the one that is kept
    for key in combining:
        del sent[key]
    types, properties, first = schema.get("type", ()), sent.get("properties", {}), sent.get("prefixItems", ())
    if "object" in types or properties:
        if not properties or combining or _NAMING & schema.keys():
            sent.setdefault("additionalProperties", True)
        if sent.get("required"):
            sent["properties"] = properties | {name: {} for name in sent["required"] if name not in properties}
    if "array" in types and (not first or sent.get("minItems", 0) > len(first)):
        sent.setdefault("items", {})
    if patterns := sent.pop("patternProperties", None):
        others = sent.get("additionalProperties", True)
        known = [*patterns.values(), *filter(None, [others])]
        sent["additionalProperties"] = others in (True, {}) or {"anyOf": known}
    return sent


def _without_limits(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The keywords of a schema that all grammars take as JSON Schema means them, each by itself."""
    sent = dict[str, Any]()
    for key, value in schema.items():
        if key in _NAMED:
            sent[key] = {name: enforced(each) for name, each in value.items() if each is not False}
        elif key in _SCHEMAS:
            sent[key] = enforced(value)
        elif (
            key in _VALUES
            or (key in _LIMITS and schema.get("type") == "integer" and isinstance(value, int) and abs(value) < 2**63)
            or (key == "format" and value in _FORMATS)
        ):
            sent[key] = value
    return sent
