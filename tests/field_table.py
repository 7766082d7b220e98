"""The README's table of published systems, as it follows from the files."""

import re
from pathlib import Path

from virc.systems import published as listed
from virc.systems.catalog import support as state
from virc_cli.commands.systems.ls import Support

README = Path(__file__).resolve().parents[1] / "README.md"
_TABLE = re.compile(r"(?<=<!-- systems -->\n).*?(?=<!-- end -->)", re.DOTALL)
_NAMED = 10
"""States with at most so many systems name them."""


def table() -> str:
    """A line for each state: how many systems, and which."""
    states = {row.name: state.of(row).kind for row in listed.field()}
    lines = ["| state | systems | |", "|---|---|---|"]
    for kind in Support:
        names = [name for name, found in states.items() if found == kind]
        named = ", ".join(names) if len(names) <= _NAMED else f"`virc systems ls --state {kind}`"
        lines += [f"| {kind.replace('-', ' ')} | {len(names)} | {named} |"] * bool(names)
    return "".join(f"{line}\n" for line in lines)


def readme() -> str:
    """The README with the table as it should be."""
    text = README.read_text(encoding="utf-8")
    assert len(_TABLE.findall(text)) == 1, "the README has no place for the table of systems"
    return _TABLE.sub(table(), text)
