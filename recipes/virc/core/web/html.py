"""What our pages share: one look, a policy that lets nothing run or load, and text of others that stays text."""

import base64
import hashlib
import html
import re
import unicodedata
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Environment

_MODULES = re.compile(r"^import .*;\n|^export ", re.MULTILINE)  # what ties modules that stand in one script
_JOINERS = "\u200c\u200d"  # needed to spell some scripts, so left alone
_HIDING = {"Cc", "Cf", "Cs", "Zl", "Zp"}  # Unicode categories: control, format, lone surrogate, separators


def render(name: str, style: str = "", *, pictures: bool = False, scripts: Sequence[str] = (), **values: object) -> str:
    """Return one HTML document, from the templates `NAME.html` and `NAME.css` (see `asset`).

    Each text in it is escaped, with characters that hide or reorder others as marked code points; in an attribute it
    goes through the filter `attribute`. A policy inside the page keeps it from running or loading anything else.

    Args:
        pictures: whether the page shows pictures that it has inside.
        scripts: modules of this package that become the page's script; it may show pictures of the page's folder, and
            make no HTML of a text.
        values: what the template refers to.
    """
    sheet = asset("core/web/page.css") + asset(f"{name}.css") + style
    script = _MODULES.sub("", "\n".join(map(asset, scripts)))
    hashes = {"style_hash": _digest(sheet), "script_hash": _digest(script)}
    return part(name, **values, **hashes, style=sheet, script=script, pictures=pictures) + "\n"


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def part(name: str, **values: object) -> str:
    """Return HTML that stands inside a page, from the template `NAME.html`; its texts are escaped as in `render`."""
    return _environment().get_template(f"{name}.html").render(values)


@cache
def _environment() -> "Environment":
    from jinja2 import Environment, FunctionLoader, StrictUndefined
    from markupsafe import Markup

    def visible(value: object) -> Markup:
        """What stands in a page for a value; jinja escapes no `Markup`."""
        return value if isinstance(value, Markup) else Markup(safe(str(value)))

    environment = Environment(
        loader=FunctionLoader(asset), autoescape=True, undefined=StrictUndefined, finalize=visible,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {
        "attribute": lambda text: Markup(safe(text, "[{}]")),
        "key_name": key_name,
        "in_line": in_line,
    }
    return environment


def asset(name: str) -> str:
    """The text of a file of this package, or with `PACKAGE:NAME` of another."""
    package, _, path = name.rpartition(":")
    return files(package or "virc").joinpath(path).read_text(encoding="utf-8")


def safe(text: str, mark: str = '<span class="char">{}</span>') -> str:
    """Return escaped text in which characters that hide or reorder others stand as marked code points."""

    def visible(character: str) -> str:
        if character in "\n\t" or character in _JOINERS or unicodedata.category(character) not in _HIDING:
            return character
        return mark.format(f"U+{ord(character):04X}")

    escaped = html.escape(text)
    return escaped if escaped.isprintable() else "".join(map(visible, escaped))


def in_line(value: object) -> str:
    """A plain value as a phrase, still to be escaped."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key_name(key)} {in_line(item)}" for key, item in value.items() if item is not None)
    if isinstance(value, list | tuple):
        return ", ".join(map(in_line, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def key_name(key: str) -> str:
    return key.replace("_", " ")
