"""Templates of a custom reward or tool: the code, and its test."""

import os
from pathlib import Path

from virc.core.errors import ConfigError, UsageError
from virc.core.files import write_whole
from virc.core.text import clause
from virc.rewards.registry import discover
from virc.tools import registry as tools

KINDS = ("reward", "tool")
_PACKAGE = Path(__file__).parents[1]


def write(kind: str, name: str, folder: Path) -> tuple[Path, Path]:
    """Write `NAME.py` and `test_NAME.py` into a folder; `kind` is one of `KINDS`."""
    if not name.isidentifier() or not name.isascii():
        raise UsageError(f"{name[:60]!r} cannot name a {kind}", "use letters, digits and _")
    if name in _taken(kind):
        raise ConfigError(f"there is a {kind} {name} already", "choose another name")
    code, test = folder / f"{name}.py", folder / f"test_{name}.py"
    for file, template in ((code, "starting.txt"), (test, "starting_test.txt")):
        if os.path.lexists(file):
            raise ConfigError(f"there is a file {file} already", "choose another name, or remove it")
        text = (_PACKAGE / f"{kind}s" / template).read_text(encoding="utf-8")
        text = text.replace('"NAME_HERE"', f'"{name}"')
        try:
            write_whole(file, _filled(text, name).encode())
        except OSError as error:
            raise ConfigError(f"cannot write {file}: {clause(error)}") from error
    return code, test


def _filled(text: str, name: str) -> str:
    """The text with the name in its first line and in names of files."""
    first, end, rest = text.partition("\n")
    return first.replace("NAME", name) + end + rest.replace("NAME.py", f"{name}.py")


def _taken(kind: str) -> set[str]:
    if kind == "tool":
        return set(tools.discover())
    terms, totals = discover()
    return {term.name for term in terms} | {total.name for total in totals}
