"""`virc data layout`: which column of a file is what, as a proposal to be changed."""

import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from virc.core.errors import DataError
from virc.core.text import clause
from virc_cli.console import output
from virc_cli.console.options import Json, argument, option

if TYPE_CHECKING:
    from virc.data.formats.registry import Row
    from virc.data.rows.record import Record

_MAX_SHOWN = 4  # pictures of a row
FAILURE: dict[str, object] = {
    "file": None, "layout": None, "reasons": [], "unsure": [], "unread": {}, "rows": [], "written": None, "html": [],
}  # fmt: skip


def command(
    file: Annotated[Path, argument("FILE", "File of rows, or a folder of `datasets`.")],
    write: Annotated[Path | None, option("FILE", "Write the layout to a new file.")] = None,
    html: Annotated[Path | None, option("DIR", "Also write the rows as HTML pages.")] = None,
    as_json: Json = False,
) -> None:
    """Propose which column is what.

    Prints the layout as YAML, with the reason for each column, three rows as they are read by it, in a terminal with
    their pictures, and the columns that hold a part of the problem and that nothing reads. Change the file, and name
    it: `virc data convert --layout FILE`.
    A layout without anything unsure is taken by all commands without a file.
    """
    from virc.data.proposing import proposed
    from virc.data.proposing import write as write_layout
    from virc.data.show import view, write_page

    output.know(file=str(file))
    found = proposed(file)
    unsure = found.proposal.unsure
    if write or not found.yaml:
        write_layout(found, write or Path())
    pages = [
        str(write_page(view(found.source, row), found.source, html)) for row in found.rows if found.source and html
    ]
    if as_json:
        import msgspec

        rows = [msgspec.to_builtins(_fields(row)) for row in found.rows]
        fields = {
            "file": str(file), "layout": found.yaml, "reasons": found.proposal.reasons, "unsure": unsure,
            "unread": found.proposal.unread, "rows": rows, "written": str(write) if write else None, "html": pages,
        }  # fmt: skip
        output.emit("virc.data.layout/1", fields)
        return
    output.lines(found.yaml.splitlines())
    for row in found.rows:
        output.line("")
        output.lines(_lines(row))
        if row.record and output.colourful(sys.stdout):
            _show(row.record)
    for name, holds in found.proposal.unread.items():
        output.note(f"nothing reads {name}, which holds {holds}")
    for reason in unsure:
        output.note(f"not sure: {reason}")
    named = (
        f" --layout {shlex.quote(str(write))}" if write else " --layout FILE" if unsure or found.proposal.unread else ""
    )
    form = found.source.laid_out.written_as if found.source and found.source.laid_out else "batch"
    output.note(f"virc data convert {shlex.quote(str(file))}{named} --to DIR --format {form} writes these rows")


def _show(record: "Record") -> None:
    from virc.reasoning.opening.pictures import open_image

    for picture in record.images[:_MAX_SHOWN]:
        try:
            output.thumbnail(open_image(picture.read(), picture.name or "an image"))
        except (OSError, DataError) as error:
            output.note(clause(error))


def _fields(row: "Row") -> dict[str, object]:
    record = row.record
    if record is None:
        return {"row": row.number, "fault": row.fault.message if row.fault else None}
    return {
        "row": row.number, "id": record.id, "question": record.question, "choices": record.extra.get("choices"),
        "answer": record.answer, "answers": record.extra.get("answers"), "boxes": record.extra.get("boxes"),
        "images": [each.name or "in the row" for each in record.images],
        "messages": [each.content for each in record.messages], "fault": None,
    }  # fmt: skip


def _lines(row: "Row") -> Iterator[str]:
    for name, value in _fields(row).items():
        if value not in (None, [], ""):
            yield f"{name:10} {value}"
