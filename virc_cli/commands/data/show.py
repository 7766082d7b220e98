"""`virc data show`: one row of a dataset, to read in the terminal or as a page."""

from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from virc_cli.console import output
from virc_cli.console.options import Json

if TYPE_CHECKING:
    from virc.data.formats.registry import Source
    from virc.data.show import Told
    from virc.reasoning.trace import Unit

FAILURE: dict[str, object] = {"file": None, "format": None, "row": None, "rows": None, "id": None, "question": None,
                              "answer": None, "images": [], "messages": [], "faults": [], "html": None}  # fmt: skip
_LABEL = 10  # characters


class SchemaName(StrEnum):
    """What has a JSON schema: rows of the format batch, and the file of a chat protocol."""

    batch = "batch"
    protocol = "protocol"


def command(
    path: Annotated[
        Path | None, typer.Argument(metavar="PATH", help="Rows, or a folder with one file of them.")
    ] = None,
    row: Annotated[
        int, typer.Option(min=1, metavar="N", help="Its number in the file; of lines, that of its line.")
    ] = 1,
    id: Annotated[str | None, typer.Option(metavar="X", help="Its id, instead of its number.")] = None,
    html: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE|DIR", help="Write it as a page, to FILE.html or to row-N.html in the folder."
        ),
    ] = None,
    schema: Annotated[
        SchemaName | None,
        typer.Option(
            help="Print the JSON schema of such rows, or of virc_protocol.json, instead; needs no PATH."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show what one row asks, which images it has, what each turn thinks, calls and answers, and its faults."""
    from virc.core.errors import UsageError

    if schema:
        output.line(_schema(schema.value))
        return
    if path is None:
        raise UsageError("missing argument 'PATH'", "virc data show trajectories.json --row 3")
    from virc.data.formats.registry import only_source
    from virc.data.show import find, row_count, tell
    from virc_cli.console import left_out

    left_out.note([path])
    source = only_source(path)
    output.know(file=str(source.file), format=source.format)
    told = tell(source, find(source, row, id))
    count = row_count(source)
    page = _write_page(html, told, source) if html else None
    if as_json:
        output.emit(_object(told, source, count, page))
        return
    for line in _lines(told, source, count):
        output.line(line)
    if page:
        output.note(f"page: {page}")


def _schema(name: str) -> str:
    import json
    from importlib.resources import files

    if name == SchemaName.protocol:
        from virc.reasoning import protocol_schema

        return json.dumps(protocol_schema.schema(), indent=2, ensure_ascii=False)

    return files("virc").joinpath("core", "schemas", f"{name}.json").read_text(encoding="utf-8").rstrip()


def _lines(told: "Told", source: "Source", count: int | None) -> Iterator[str]:
    """The row as text."""
    of = f" of {count:,}" if count is not None else ""
    yield _line(f"row {told.number:,}{of}", f"{source.file} ({source.format})")
    if told.record.id is not None:
        yield _line("id", str(told.record.id))
    yield _line("question", told.trace.question)
    if told.record.answer is not None:
        yield _line("answer", told.record.answer)
    for index, image in enumerate(told.images):
        size = f"{image.shown.width} x {image.shown.height} px" if image.fault is None else image.fault
        yield _line(f"image {index}", f"{image.name}  {size}".strip())
    if len(told.images) < len(told.record.images):
        yield _line("images", f"{len(told.record.images):,} in all, too large to be shown together")
    for number, unit in enumerate(told.trace.units, 1):
        yield ""
        yield _line(f"turn {number}", unit.think if unit.think or not unit.rejected else unit.text)
        yield _line("", _outcome(unit))
    faults = [fault for fault in told.faults if fault not in {image.fault for image in told.images}]
    if faults:
        yield ""
    for fault in faults:
        yield _line("fault", fault)


def _outcome(unit: "Unit") -> str:
    from virc.solving.trace_page import in_words

    if unit.answer is not None:
        return f"answer: {unit.answer}"
    if unit.call is None:
        return "not usable: " + "; ".join(each.reason for each in unit.rejected)
    forgiven = f" ({', '.join(unit.deviations)})" if unit.deviations else ""
    made = f", shown as image {unit.shown}" if unit.shown is not None else ""
    return in_words(unit.call) + forgiven + made


def _line(label: str, text: str) -> str:
    """A label and its text, whose further lines stand below its first."""
    indent = "\n" + " " * (_LABEL + 1)
    return f"{label:{_LABEL}} {indent.join(text.strip().splitlines())}".rstrip()


def _write_page(html: Path, told: "Told", source: "Source") -> str:
    from virc.core.errors import VircError
    from virc.core.files import write_whole
    from virc.core.text import clause
    from virc.solving.trace_page import render_page

    path = html if html.suffix.lower() in (".html", ".htm") else html / f"row-{told.number}.html"
    faults = f" · {len(told.faults)} fault{'s' * (len(told.faults) != 1)}" * bool(told.faults)
    meta = {
        "row": f"row {told.number} of {source.file.name}{faults}",
        "faults": told.faults or None,
        "id": told.record.id,
        "reference answer": told.record.answer,
        "chat_protocol": None,  # that of the row, as it stands on the page
        "coordinates": f"{told.trace.protocol.coordinates}, {told.why}",
        "format": source.format,
    }
    page = render_page(told.trace, [image.shown for image in told.images], meta)
    try:
        write_whole(path, page.encode("utf-8", "replace"))
    except OSError as error:
        raise VircError(f"cannot write {path}: {clause(error)}") from error
    return str(path)


def _object(told: "Told", source: "Source", count: int | None, page: str | None) -> dict[str, object]:
    return {
        "schema": "virc.data.show/1",
        "file": str(source.file),
        "format": source.format,
        "row": told.number,
        "rows": count,
        "id": told.record.id,
        "question": told.trace.question,
        "answer": told.record.answer,
        "images": [
            {
                "name": image.name,
                "width": image.size[0] if image.size else None,
                "height": image.size[1] if image.size else None,
                "fault": image.fault,
            }
            for image in told.images
        ],
        "messages": [{"role": message.role, "content": message.content} for message in told.record.messages],
        "faults": told.faults,
        "html": page,
        "error": None,
    }
