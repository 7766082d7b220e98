"""The tables of `docs/remote-tools.md`, as they follow from the classes of the file."""

import re
from pathlib import Path

import msgspec
from protocol_page import code, value

from virc.data.protocol.schema import descriptions
from virc.remote.described import Described, Http, Mcp, ReplySettings

PAGE = Path(__file__).resolve().parents[1] / "docs" / "remote-tools.md"


def page() -> str:
    """The page with its tables as they should be."""
    text = PAGE.read_text(encoding="utf-8")
    for kind in (Described, Http, ReplySettings, Mcp):
        start = f"<!-- fields: {kind.__name__} -->\n"
        assert text.count(start) == 1, f"the page has no place for the fields of {kind.__name__}"
        before, _, rest = text.partition(start)
        text = before + start + _table(kind) + rest[rest.index("<!-- end -->") :]
    return text


def _table(kind: type[msgspec.Struct]) -> str:
    _, parts = msgspec.json.schema_components([kind], ref_template="#/$defs/{name}")
    part, said = parts[kind.__name__], descriptions(kind)
    lines = ["| field | value | |", "|---|---|---|"]
    for name, field in part["properties"].items():
        default = "needed" if name in part["required"] else f"default {code(field['default'])}"
        linked = re.sub(r" or null, default `null`|, default `(\[\]|\{.*\})`$", "", f"{value(field)}, {default}")
        for other, heading in (("ReplySettings", "result"), ("Http", "http"), ("Mcp", "mcp")):
            linked = linked.replace(f"[{other}](#{other.lower()})", f"[{heading}](#{heading})")
        lines.append(f"| `{name}` | {linked} | {said[name].replace('|', '&#124;')} |")
    return "".join(f"{line}\n" for line in lines)
