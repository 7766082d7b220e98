"""`virc download ls`: what was downloaded into this workspace."""

from pathlib import Path
from typing import TYPE_CHECKING

from virc.core.text import sized
from virc_cli.console import output
from virc_cli.console.options import Json

if TYPE_CHECKING:
    from virc.download.workspace import Downloaded

FAILURE: dict[str, object] = {"downloads": None}
_HEAD = ("folder", "kind", "state", "size", "commit", "from")


def command(as_json: Json = False) -> None:
    """List what was downloaded into models/ and data/ here."""
    from virc.download.workspace import discover

    found = discover(Path.cwd())
    if as_json:
        output.emit("virc.download.ls/1", {"downloads": [_fields(each) for each in found]})
    elif found:
        from virc_cli.console.tables import folded

        output.lines(folded([_HEAD, *map(_cells, found)], output.stdout()))
    else:
        output.note(f"nothing was downloaded into {Path.cwd()}: try virc download")


def _fields(found: "Downloaded") -> dict[str, object]:
    record = found.record
    return {
        "name": found.name, "kind": record.kind, "repo": record.source.name, "commit": record.commit,
        "folder": str(found.folder), "bytes": found.size, "state": "partly" if record.lacking else "present",
        "lacking": list(record.lacking),
    }  # fmt: skip


def _cells(found: "Downloaded") -> tuple[str, ...]:
    from virc.download.hub.meter import part_of

    record, there = found.record, found.size
    return (
        str(found.folder.relative_to(Path.cwd())),
        record.kind,
        "partly" if record.lacking else "present",
        part_of(there, record.size) if record.lacking else sized(there),
        record.commit[:7],
        record.source.name,
    )
