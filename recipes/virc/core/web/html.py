"""What our pages share: one look, a policy that lets nothing run or load, and text of others that stays text."""

import base64
import hashlib
import html
import unicodedata
from collections.abc import Mapping
from importlib.resources import files
from string import Template

_JOINERS = "\u200c\u200d"  # needed to spell some scripts, so left alone
_HIDING = {"Cc", "Cf", "Cs", "Zl", "Zp"}  # Unicode categories: control, format, lone surrogate, separators


def fill(name: str, rules: str = "", *, pictures: bool = False, **parts: str) -> str:
    """One HTML document, from `NAME.html` and `NAME.css`; a policy inside it keeps it from running or loading anything.

    Args:
        name: of the files; the HTML begins with `$head` and names `$style` and the parts. The head has the policy, the
            style follows that of all pages.
        rules: further style, of this page alone.
        pictures: whether the page shows pictures that it has inside.
        parts: HTML in which foreign text is `safe`.
    """
    style = asset("core/web/page.css") + asset(f"{name}.css") + rules
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    images = "img-src data:; " if pictures else ""
    head = Template(asset("core/web/head.html")).substitute(style_hash=digest, images=images)
    return Template(asset(f"{name}.html")).substitute(head=head, style=style, **parts)


def asset(name: str) -> str:
    """The text of a file of this package."""
    return files("virc").joinpath(name).read_text(encoding="utf-8")


def safe(text: str, mark: str = '<span class="char">{}</span>') -> str:
    """Escaped text in which characters that hide or reorder others stand as marked code points."""

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
    """The name of a setting in words."""
    return key.replace("_", " ")
