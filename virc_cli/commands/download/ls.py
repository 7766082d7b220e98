"""`virc download ls`: what was downloaded into this workspace."""

from pathlib import Path
from typing import TYPE_CHECKING

from virc_cli import output
from virc_cli.options import Json

if TYPE_CHECKING:
    from virc_recipes.downloaded import Downloaded

FAILURE: dict[str, object] = {"downloads": None}
_HEAD = ("name", "kind", "state", "size", "commit", "from", "folder")


def command(as_json: Json = False) -> None:
    """Print what was downloaded into this folder's models/ and data/. Whether it is whole, its size, and where from."""
    from virc_cli.run_lines import table
    from virc_recipes.downloaded import discover

    found = discover(Path.cwd())
    if as_json:
        output.emit(
            {"schema": "virc.download.ls/1", "downloads": [_fields(each) for each in found], "error": None}
        )
    elif found:
        for line in table([_HEAD, *map(_cells, found)]):
            output.line(line)
    else:
        output.note(f"nothing was downloaded into {Path.cwd()}: virc download begins")


def _fields(found: "Downloaded") -> dict[str, object]:
    from virc_recipes.paths import size_of

    record = found.record
    return {
        "name": found.name,
        "kind": record.kind,
        "repo": record.repo,
        "commit": record.commit,
        "folder": str(found.folder),
        "bytes": size_of(found.folder),
        "state": "partly" if record.lacking else "present",
        "lacking": list(record.lacking),
    }


def _cells(found: "Downloaded") -> tuple[str, ...]:
    from virc_cli.progress import sized

    fields, record = _fields(found), found.record
    folder = found.folder.relative_to(Path.cwd())
    size = sized(float(str(fields["bytes"])))
    whole = "present" if not record.lacking else f"partly, of {sized(record.size)}"
    return (found.name, record.kind, whole, size, record.commit[:7], record.repo, str(folder))
