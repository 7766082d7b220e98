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
    terms, totals = discover()
    taken = {each.name for each in terms} | {each.name for each in totals}
    if name in (tools.discover() if kind == "tool" else taken):
        raise ConfigError(f"there is a {kind} {name} already", "choose another name")
    code, test = folder / f"{name}.py", folder / f"test_{name}.py"
    for file in (code, test):  # before either is written
        if os.path.lexists(file):
            raise ConfigError(f"there is a file {file} already", "choose another name, or remove it")
    for file, template in ((code, "starting.txt"), (test, "starting_test.txt")):
        text = (_PACKAGE / f"{kind}s" / template).read_text(encoding="utf-8")
        first, end, rest = text.replace('"NAME_HERE"', f'"{name}"').partition("\n")
        text = first.replace("NAME", name) + end + rest.replace("NAME.py", f"{name}.py")
        try:
            write_whole(file, text.encode())
        except OSError as error:
            raise ConfigError(f"cannot write {file}: {clause(error)}") from error
    return code, test
