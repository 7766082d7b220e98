"""The tables of systems in `docs/systems.md`, as they follow from the files."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import get_args

from virc.systems import published, support
from virc.systems import registry as systems
from virc_cli.commands.systems.ls import Support

PAGE = Path(__file__).resolve().parents[1] / "docs" / "systems.md"


def tables() -> dict[str, str]:
    """Each table by the mark above it."""
    states = support.states()
    field, far = published.rows(), get_args(Support)
    order = sorted(field.values(), key=lambda each: (far.index(states[each.name].kind), each.row))
    rows = (
        (str(each.row), _linked(each), states[each.name].kind.replace("-", " "), states[each.name].what)
        for each in order
    )
    others = ((name, states[name].kind, systems.get(name).about) for name in states.keys() - field.keys())
    return {
        "systems": table(("", "system", "state", "what is missing"), rows),
        "others": table(("system", "state", "what it is"), sorted(others)),
    }


def _linked(row: published.PublishedSystem) -> str:
    return f"[{row.name}](https://github.com/{row.repo})" if row.repo else row.name


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = (head, ("---",) * len(head), *rows)
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def page() -> str:
    """The page with the tables as they should be."""
    text = PAGE.read_text(encoding="utf-8")
    for mark, made in tables().items():
        place = re.compile(rf"(?<=<!-- {mark} -->\n).*?(?=<!-- end -->)", re.DOTALL)
        assert len(place.findall(text)) == 1, f"the page has no place for the table {mark}"
        text = place.sub(lambda _: made, text)  # noqa: B023 - used at once
    return text
