"""`virc download rm`: delete what was downloaded."""

from pathlib import Path
from typing import Annotated

from virc.core.text import sized
from virc_cli.console import completion, output
from virc_cli.console.confirm import agree_to_delete, check_unused
from virc_cli.console.options import Json, argument, flag

FAILURE: dict[str, object] = {"removed": None, "bytes": None}


def command(
    names: Annotated[
        list[str],
        argument("NAME...", "As `virc download ls` names it, or its folder.", autocompletion=completion.downloaded),
    ],
    yes: Annotated[bool, flag("--yes", "Do not ask, not even about models of runs.")] = False,
    as_json: Json = False,
) -> None:
    """Delete what was downloaded.

    Folders that held your own files before are refused.
    """
    from virc.core.files import size_of
    from virc.download import workspace as downloaded

    workspace = Path.cwd()
    chosen = list({found.folder: found for found in (downloaded.find(name, workspace) for name in names)}.values())
    for found in chosen:
        downloaded.check_removable(found)
        if not yes:
            check_unused(found.name, list(downloaded.used_by(found, workspace)))
    sizes = [size_of(found.folder) for found in chosen]
    if not yes:
        agree_to_delete([found.name for found in chosen], sum(sizes))
    downloaded.sweep(workspace)
    for found, size in zip(chosen, sizes, strict=True):
        downloaded.remove(found)
        output.note(f"removed {found.folder}, {sized(size)}")
    if as_json:
        folders = [str(found.folder) for found in chosen]
        output.emit("virc.download.rm/1", {"removed": folders, "bytes": sum(sizes)})
