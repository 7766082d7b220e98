"""The table of clients in `docs/clients.md`, and what a user of each types: from the scripts and what was recorded."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from support import clients

PAGE = Path(__file__).resolve().parents[1] / "docs" / "clients.md"
_PLACE = re.compile(r"(?<=<!-- clients -->\n).*?(?=<!-- end -->)", re.DOTALL)
_APIS = {"chat": "chat", "responses": "Responses"}
_HEAD = ("client", "JSON", "thoughts", "tool calls")
Ways = Mapping[str, list[str]]


def page() -> str:
    """The page as it should be."""
    text = PAGE.read_text(encoding="utf-8")
    assert len(_PLACE.findall(text)) == 1, "the page has no place for the clients"
    sections = "".join(map(_section, clients.scripts()))
    return _PLACE.sub(lambda _: f"{_table()}\n{sections}", text)


def _table() -> str:
    rows = [_HEAD, ("---",) * len(_HEAD), *map(_row, clients.scripts())]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _row(file: Path) -> tuple[str, ...]:
    name = clients.name(file)
    anchor = re.sub(r"[^\w\- ]", "", name.lower()).replace(" ", "-")
    found = [_recorded(client) for client in clients.every() if client.file == file]
    assert all(each["ways"] == found[0]["ways"] for each in found), f"{name}: its versions differ; show each"
    versions = ", ".join(client.version for client in clients.every() if client.file == file)
    ways: dict[str, Ways] = found[0]["ways"]
    json = sorted({f"`{way}`" for each in ways.values() for way in each if way in ("json_schema", "tool")})
    return (
        f"[{name}]({f'#{anchor}' if clients.shown(file) else _path(file)}) {versions}",
        ", ".join(json) or "–",
        *(_reached({api: _of(each, part) for api, each in sorted(ways.items())}) for part in ("thoughts", "calls")),
    )


def _recorded(client: clients.Client) -> Any:
    found = clients.recorded()
    assert client.id in found, f"{client.id}: run tests/serving/agent/test_client_programs.py with VIRC_RECORD=1"
    return found[client.id]


def _of(ways: Ways, part: str) -> str:
    """Whether a part of the answers reaches who asks by one API."""
    found = {way: part in ways[way] for way in ("whole", "stream") if way in ways}
    if len(set(found.values())) == 1:
        return "yes" if found["whole"] else "no"
    return "whole" if found["whole"] else "streamed"


def _reached(of: Mapping[str, str]) -> str:
    if len(set(of.values())) == 1:
        return next(iter(of.values()))
    return ", ".join(_APIS[api] + f" ({said})" * (said != "yes") for api, said in of.items() if said != "no")


def _section(file: Path) -> str:
    if not (shown := clients.shown(file)):
        return ""
    text, language = shown
    notes = "".join(f"{note}\n" for note in clients.notes(file))
    mark = f"<!-- run by: {_path(file).removeprefix('../')} -->"
    return f"## {clients.name(file)}\n\n{notes}{chr(10) * bool(notes)}{mark}\n```{language}\n{text}```\n\n"


def _path(file: Path) -> str:
    return f"../{file.relative_to(PAGE.parents[1]).as_posix()}"
