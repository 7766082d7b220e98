"""`virc data layout`: which column of a file is what, as a proposal to be changed."""

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from virc_cli.console import output
from virc_cli.console.options import Json, argument, option

if TYPE_CHECKING:
    from virc.data.formats.registry import NumberedRow

FAILURE: dict[str, object] = {
    "file": None, "layout": None, "reasons": [], "unsure": [], "unread": {}, "rows": [], "written": None,
}  # fmt: skip


def command(
    file: Annotated[Path, argument("FILE", "File of rows, or a folder of `datasets`.")],
    write: Annotated[Path | None, option("FILE", "Write the layout to a new file.")] = None,
    as_json: Json = False,
) -> None:
    """Propose which column is what.

    Prints the layout as YAML, with the reason for each column, three rows as they are read by it, and the columns
    that hold a part of the problem and that nothing reads. Change the file, and name it: `virc data convert --layout
    FILE`; `virc data show --layout FILE --html` shows a row with its pictures.
    A layout without anything unsure is taken by all commands without a file.
    """
    from virc_extras.layouts.proposing import proposed
    from virc_extras.layouts.proposing import write as write_layout

    output.know(file=str(file))
    found = proposed(file)
    unsure = found.proposal.unsure
    if write or not found.yaml:
        write_layout(found, write or Path())
    if as_json:
        import msgspec

        rows = [msgspec.to_builtins(_fields(row)) for row in found.rows]
        fields = {
            "file": str(file), "layout": found.yaml, "reasons": found.proposal.reasons, "unsure": unsure,
            "unread": found.proposal.unread, "rows": rows, "written": str(write) if write else None,
        }  # fmt: skip
        output.emit("virc.data.layout/1", fields)
        return
    output.lines(found.yaml.splitlines())
    for row in found.rows:
        output.line("")
        output.lines(_lines(row))
    for name, holds in found.proposal.unread.items():
        output.note(f"nothing reads {name}, which holds {holds}")
    for reason in unsure:
        output.note(f"not sure: {reason}")
    named = (
        f" --layout {shlex.quote(str(write))}" if write else " --layout FILE" if unsure or found.proposal.unread else ""
    )
    form = found.source.laid_out.written_as if found.source and found.source.laid_out else "batch"
    output.note(f"virc data convert {shlex.quote(str(file))}{named} --to DIR --format {form} writes these rows")


def _fields(row: "NumberedRow") -> dict[str, object]:
    record = row.record
    if record is None:
        return {"row": row.number, "fault": row.fault.message if row.fault else None}
    return {
        "row": row.number, "id": record.id, "question": record.question, "choices": record.extra.get("choices"),
        "answer": record.answer, "answers": record.extra.get("answers"), "boxes": record.extra.get("boxes"),
        "images": [each.name or "in the row" for each in record.images],
        "messages": [each.content for each in record.messages], "fault": None,
    }  # fmt: skip


def _lines(row: "NumberedRow") -> Iterator[str]:
    for name, value in _fields(row).items():
        if value not in (None, [], ""):
            yield f"{name:10} {value}"
