"""The tables of `docs/chat-protocol.md`, as they follow from the schema of the file."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from virc.data.protocol.schema import CLASSES, schema

PAGE = Path(__file__).resolve().parents[1] / "docs" / "chat-protocol.md"


def page() -> str:
    """The page with its tables as they should be."""
    text = PAGE.read_text(encoding="utf-8")
    whole = schema()
    parts: dict[str, Any] = {CLASSES[0].__name__: whole, **whole["$defs"]}
    for name, part in parts.items():
        start = f"<!-- fields: {name} -->\n"
        assert text.count(start) == 1, f"the page has no place for the fields of {name}"
        before, _, rest = text.partition(start)
        text = before + start + _table(part) + rest[rest.index("<!-- end -->") :]
    return text


def _table(part: Mapping[str, Any]) -> str:
    lines = ["| field | value | default | |", "|---|---|---|---|"]
    for name, field in part["properties"].items():
        default = "needed" if name in part["required"] else code(field["default"])
        lines.append(f"| `{name}` | {value(field)} | {default} | {field['description'].replace('|', '&#124;')} |")
    return "".join(f"{line}\n" for line in lines)


def value(field: Mapping[str, Any]) -> str:
    """The values that a field takes, in words."""
    if "$ref" in field:
        return f"[{field['$ref'].rpartition('/')[2]}](#{field['$ref'].rpartition('/')[2].lower()})"
    if "anyOf" in field:
        # Versions of msgspec differ in where null is.
        return " or ".join(sorted(map(value, field["anyOf"]), key="null".__eq__))
    if "enum" in field:
        return ", ".join(map(code, field["enum"]))
    if "prefixItems" in field:
        return f"list of {len(field['prefixItems'])} {field['prefixItems'][0].get('type', 'value')}s"
    if field.get("type") == "array":
        return f"list of {value(field['items'])}" + "s" * ("type" in field["items"])
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    bounds = ", ".join(f"{sign} {field[key]}" for key, sign in signs.items() if key in field)
    kind = str(field.get("type", "any"))
    return f"{kind} ({bounds})" if bounds else kind


def code(found: object) -> str:
    return f"`{json.dumps(found, ensure_ascii=False)}`"
