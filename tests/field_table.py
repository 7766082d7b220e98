"""The table of systems in `docs/systems.md`, as it follows from the files."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import get_args

from virc.systems import published, support
from virc_cli.commands.systems.ls import Support

PAGE = Path(__file__).resolve().parents[1] / "docs" / "systems.md"
_PLACE = re.compile(r"(?<=<!-- systems -->\n).*?(?=<!-- end -->)", re.DOTALL)


def rows() -> Iterator[tuple[str, str]]:
    """Yield each state that systems have, and these systems, the published ones first."""
    states, field = support.states(), published.rows()
    names = [*sorted(field, key=lambda name: field[name].row), *sorted(states.keys() - field.keys())]
    for kind in get_args(Support):
        if found := [_linked(name, field.get(name)) for name in names if states[name].kind == kind]:
            yield kind.replace("-", " "), ", ".join(found)


def _linked(name: str, row: published.PublishedSystem | None) -> str:
    return f"[{name}](https://github.com/{row.repo})" if row and row.repo else name


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = (head, ("---",) * len(head), *rows)
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def page() -> str:
    """The page with the table as it should be."""
    made = table(("state", "systems"), rows())
    return _PLACE.sub(lambda _: made, PAGE.read_text(encoding="utf-8"))
