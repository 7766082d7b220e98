"""What a published file must not contain: keys, and paths of this machine."""

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec

from virc.core.credentials import is_secret
from virc.core.errors import DataError
from virc.core.files import is_path
from virc.core.text import plain

_KEYS = [re.compile(form) for form in (
    r"hf_[A-Za-z0-9]{30}", r"sk-(?<!\wsk-)(?=[\w-]*\d)[\w-]{20}", r"gh[pousr]_[A-Za-z0-9]{36}", r"github_pat_\w{22}",
    r"glpat-[\w-]{20}", r"xox[abprs]-[\w-]{10}", r"A[KS]IA(?<!\w....)[0-9A-Z]{16}\b", r"AIza[\w-]{35}",
    r"(?<!\w)(?:nvapi-|gsk_|xai-|pypi-|npm_)[\w-]{30}",
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----",
    r"(?i:(?:api[_-]?key|secret|password|(?:access|auth|hub)[_-]token)[\"']?\s*[:=]\s*[\"']?)[\w./+=-]{20}",
)]  # fmt: skip
"""Keys by the forms that services give them, each from its letters on, and long values that are named so."""
_HOMES = r"(?<![\w.])/(?:home|Users)/[\w.-]+|\b[A-Za-z]:[\\/]+Users[\\/]+\w"
_QUOTED = re.compile(r'"(?:file://)?(/(?:[^"\\/\n]+/)+[^"\\/\n]{1,255})"')
_ESCAPED = re.compile(r"\\(?:/|u002[fF])")
"""A slash as JSON may write it."""
_ABSOLUTE = re.compile(r"(?:file://|~|[A-Za-z]:)?[/\\][^\s/\\]+(?:[/\\]\S*)?")
_CHUNK, _OVERLAP = 2**20, 2**12
_MIN_KEY, _MIN_PARTS = 8, 2


def check_leaks(name: str, texts: Iterable[tuple[str, str]], paths: Literal["none", "own", "all"] = "all") -> None:
    """Refuse a file that contains a key, or a path of this machine.

    Args:
        paths: "own": those of this user and of this folder, and quoted ones that are there; "all": home folders of
            others too, which rows may be about; "none": words of a tokenizer look like some.
    """
    own = [value for key, value in os.environ.items() if is_secret(key) and len(value) >= _MIN_KEY]
    here = [re.escape(str(each)) + r"(?![\w-])" for each in (Path.home(), Path.cwd()) if len(each.parts) > _MIN_PARTS]
    home = re.compile("|".join([*here, _HOMES] if paths == "all" else here) or r"(?!)")
    for where, written in texts:
        text = _ESCAPED.sub("/", written)
        if any(form.search(text) for form in _KEYS) or any(value in text for value in own):
            raise DataError(f"{name}, {where}, contains a key", "remove it; revoke the key if others saw it")
        if paths == "none":
            continue
        found = home.search(text)
        named = found[0] if found else next(filter(is_path, _QUOTED.findall(text)), None)
        if named:
            raise DataError(f"{name}, {where}, names a path of this machine: {plain(named, 80)}", "make it relative")


def lines(file: Path) -> Iterator[tuple[str, str]]:
    """The text of a file in pieces that overlap, each with the number of the line it begins in."""
    number, rest = 1, ""
    with file.open(encoding="utf-8", errors="replace") as opened:
        while piece := opened.read(_CHUNK):
            text = rest + piece
            yield f"from line {number} on", text
            rest = text[-_OVERLAP:]
            number += text.count("\n") - rest.count("\n")


def strings(value: Any) -> Iterator[str]:
    """All texts and keys in a row, as a text file would quote them; images as bytes have none."""
    if isinstance(value, str):
        yield f'"{value}"'
    elif isinstance(value, dict | list | tuple):
        for each in (*value, *value.values()) if isinstance(value, dict) else value:
            yield from strings(each)


def _is_absolute(value: Any) -> bool:
    return isinstance(value, str) and bool(_ABSOLUTE.fullmatch(value))


def without_paths(content: bytes) -> tuple[bytes, tuple[str, ...]]:
    """Settings in JSON without the keys that are, or whose value is, an absolute path, and the names of these keys."""
    removed: list[str] = []

    def kept(value: Any, name: str) -> Any:
        if isinstance(value, list):
            return [kept(each, name) for each in value]
        if not isinstance(value, dict):
            return value
        paths = [key for key, each in value.items() if _is_absolute(key) or _is_absolute(each)]
        removed.extend(f"{name}{key}" for key in paths)
        return {key: kept(each, f"{name}{key}.") for key, each in value.items() if key not in paths}

    settings = kept(msgspec.json.decode(content), "")
    if not removed:
        return content, ()
    return msgspec.json.format(msgspec.json.encode(settings)) + b"\n", tuple(removed)
