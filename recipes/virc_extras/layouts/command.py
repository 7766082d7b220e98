"""`virc data layout`: which column of a file is what, as a proposal to be changed."""

import shlex
from pathlib import Path
from typing import Annotated

from virc_cli.console import output
from virc_cli.console.options import Json, argument, option

FAILURE: dict[str, object] = {
    "file": None, "layout": None, "reasons": [], "unsure": [], "unread": {}, "written": None,
}  # fmt: skip


def command(
    file: Annotated[Path, argument("FILE", "File of rows, or a folder of `datasets`.")],
    write: Annotated[Path | None, option("FILE", "Write the layout to a new file.")] = None,
    as_json: Json = False,
) -> None:
    """Propose which column is what.

    Prints the layout as YAML, with the reason for each column, and the columns that hold a part of the problem and that
    nothing reads. Change the file, and name it: `virc data convert --layout FILE`. `virc data show --layout FILE` shows
    a row as it is read, with --html its pictures, too. A layout without anything unsure is taken by all commands
    without a file.
    """
    from virc_extras.layouts.proposing import proposed
    from virc_extras.layouts.proposing import write as write_layout

    output.know(file=str(file))
    found = proposed(file)
    unsure = found.proposal.unsure
    if write or not found.yaml:
        write_layout(found, write or Path())
    if as_json:
        fields = {
            "file": str(file), "layout": found.yaml, "reasons": found.proposal.reasons, "unsure": unsure,
            "unread": found.proposal.unread, "written": str(write) if write else None,
        }  # fmt: skip
        output.emit("virc.data.layout/1", fields)
        return
    output.lines(found.yaml.splitlines())
    for name, holds in found.proposal.unread.items():
        output.note(f"nothing reads {name}, which holds {holds}")
    for reason in unsure:
        output.note(f"not sure: {reason}")
    layout = shlex.quote(str(write)) if write else "FILE" if unsure or found.proposal.unread else None
    named = f"{shlex.quote(str(file))} --layout {layout}" if layout else shlex.quote(str(file))
    output.note(f"virc data convert {named} --to DIR --format {found.written_as} writes these rows")
