"""The table of clients in `docs/clients.md`, and what a user of each types: from the scripts and what was recorded."""

import re
from collections.abc import Mapping
from pathlib import Path

from support import clients

PAGE = Path(__file__).resolve().parents[1] / "docs" / "clients.md"
_PLACE = re.compile(r"(?<=<!-- clients -->\n).*?(?=<!-- end -->)", re.DOTALL)
_TWO = ("whole", "stream")
_NONE = "–"
_NAMES = {"chat": "chat", "responses": "Responses"}


def page() -> str:
    """The page as it should be."""
    text = PAGE.read_text(encoding="utf-8")
    assert len(_PLACE.findall(text)) == 1, "the page has no place for the clients"
    sections = "".join(map(_section, clients.scripts()))
    return _PLACE.sub(lambda _: f"{_table()}\n{sections}", text)


def _table() -> str:
    recorded = clients.recorded()
    head = ["client", "version", "API", "whole", "streamed", "JSON", "thoughts", "tool calls", "asked on"]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for client in clients.every():
        name = clients.name(client.file)
        anchor = re.sub(r"[^\w\- ]", "", name.lower()).replace(" ", "-")
        assert client.id in recorded, f"{client.id}: run tests/serving/agent/test_client_programs.py with VIRC_RECORD=1"
        found = recorded[client.id]
        for api in sorted(found["ways"]):
            cells = [f"[{name}](#{anchor})", client.version, _NAMES[api], *_cells(found["ways"][api]), found["date"]]
            lines.append(f"| {' | '.join(cells)} |")
    return "".join(f"{line}\n" for line in lines)


def _cells(ways: Mapping[str, list[str]]) -> list[str]:
    asked = ["yes" if way in ways else _NONE for way in _TWO]
    json = ", ".join(f"`{way}`" for way in ("json_schema", "tool") if way in ways)
    return [*asked, json or _NONE, _reached(ways, "thoughts"), _reached(ways, "calls")]


def _reached(ways: Mapping[str, list[str]], part: str) -> str:
    """Whether a part of the answers reaches who asks."""
    found = {way: part in ways[way] for way in _TWO if way in ways}
    if len(set(found.values())) == 1:
        return "yes" if found["whole"] else "no"
    return "whole only" if found["whole"] else "streamed only"


def _section(file: Path) -> str:
    text, language = clients.shown(file)
    environments = [" ".join(each.packages) for each in clients.every() if each.file == file]
    install = "npm install" if file.suffix == ".mjs" else "pip install"
    tested = " and ".join(f"`{install} {packages}`" for packages in environments)
    about = "\n".join([*clients.notes(file), f"Tested with {tested}."])
    path = file.relative_to(PAGE.parents[1]).as_posix()
    head = f"## {clients.name(file)}\n\n{about}\n\n"
    return f"{head}<!-- run by: {path} -->\n```{language}\n{text}```\n\n"
