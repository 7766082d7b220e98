"""`virc data show`: one row of a dataset, in the terminal or as a page."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from virc.core.errors import UsageError
from virc_cli.console import output
from virc_cli.console.options import Json, LayoutFile, argument, choice, named_system, option

if TYPE_CHECKING:
    from virc.data.formats.registry import RowsFile
    from virc.data.show import RowView
    from virc.reasoning.trace import Unit

FAILURE: dict[str, object] = {"file": None, "format": None, "row": None, "rows": None, "id": None, "question": None,
                              "answer": None, "images": [], "messages": [], "chosen": None, "rejected": None,
                              "margin": None, "faults": [], "html": None}  # fmt: skip
_LABEL = 10  # characters


def command(
    path: Annotated[Path | None, argument("PATH", "File of rows, or its folder.")] = None,
    row: Annotated[int, option("N", "Number of the row in the file.", min=1)] = 1,
    id: Annotated[str | None, option("X", "Id of the row, instead of --row.")] = None,
    html: Annotated[Path | None, option("FILE|DIR", "Also write it as an HTML page.")] = None,
    schema: Annotated[
        Literal["batch", "sft", "trajectories", "pairs", "rl", "prompts", "conversation", "protocol"] | None,
        choice("Print the JSON schema of such a row or chat protocol."),
    ] = None,
    system: Annotated[str | None, option("SYSTEM", "System whose authors published the rows.")] = None,
    layout: LayoutFile = None,
    as_json: Json = False,
) -> None:
    """Show one row: question, images, turns and faults.

    A folder must have one file of rows. --html DIR writes row-N.html.
    """
    if schema:
        output.line(_schema(schema))
        return
    if path is None:
        raise UsageError("missing argument 'PATH'", "virc data show trajectories.json --row 3")
    from virc.data.formats.registry import only_source
    from virc.data.show import find, row_count, view, write_page
    from virc.systems.layouts import registry as layouts

    output.note_left_out([path], system, layout)
    given = layouts.read_layout(layout) if layout else None
    source = only_source(path, named_system(system), given)
    where = {"file": str(source.file), "format": source.format}
    output.know(**where)
    found = view(source, find(source, row, id))
    count = row_count(source)
    page = str(write_page(found, source, html)) if html else None
    if as_json:
        fields = {**where, **found.as_fields(), "rows": count, "html": page}
        output.emit("virc.data.show/1", {**{key: fields[key] for key in FAILURE}})
        return
    output.lines(_lines(found, source, count))
    if page:
        output.note(f"page: {page}")


def _schema(name: str) -> str:
    import json
    from importlib.resources import files

    if name == "protocol":
        from virc.data.protocol import schema

        return json.dumps(schema.schema(), indent=2, ensure_ascii=False)
    package = files("virc")
    if name == "batch":
        return package.joinpath("core", "schemas", "batch.json").read_text(encoding="utf-8").rstrip()
    rows = json.loads(package.joinpath("data", "formats", "rows.json").read_text(encoding="utf-8"))
    draft = "https://json-schema.org/draft/2020-12/schema"
    return json.dumps({"$schema": draft, **rows[name], "$defs": rows["$defs"]}, indent=2, ensure_ascii=False)


def _lines(found: "RowView", source: "RowsFile", count: int | None) -> Iterator[str]:
    of = f" of {count:,}" if count is not None else ""
    yield _line(f"row {found.number:,}{of}", f"{source.file} ({source.format})")
    if found.record.id is not None:
        yield _line("id", str(found.record.id))
    asked = found.trace.questions
    yield _line("question", asked[0])
    if found.record.answer is not None:
        yield _line("answer", found.record.answer)
    for index, image in enumerate(found.images):
        size = f"{image.shown.width} x {image.shown.height} px" if image.fault is None else image.fault
        yield _line(f"image {index}", f"{image.name}  {size}".strip())
    if len(found.images) < len(found.record.images):
        yield _line("images", f"{len(found.record.images):,} in all, too large to be shown together")
    units = found.trace.units if found.chosen is None else found.trace.units[:-1]
    for number, unit in enumerate(units, 1):
        yield ""
        if number > 1 and number - 1 in asked:
            yield _line("question", asked[number - 1])
        yield _line(f"turn {number}", unit.think if unit.think or not unit.rejected else unit.text)
        yield _line("", _outcome(unit))
    if found.chosen is not None:
        yield ""
        yield _line("chosen", found.chosen)
        yield _line("rejected", found.record.rejected or "")
    if found.margin is not None:
        yield _line("margin", f"{found.margin}")
    faults = [fault for fault in found.faults if fault not in {image.fault for image in found.images}]
    if faults:
        yield ""
    for fault in faults:
        yield _line("fault", fault)


def _outcome(unit: "Unit") -> str:
    from virc.solving.traces.page import in_words

    if unit.answer is not None:
        return f"answer: {unit.answer}"
    if not unit.calls:
        results = (f"result: {each.text or each.error or '(no text)'}" for each in unit.results)
        return (
            "not usable: " + "; ".join(each.reason for each in unit.rejected) if unit.rejected else "; ".join(results)
        )
    forgiven = f" ({', '.join(unit.deviations)})" if unit.deviations else ""
    made = f", shown as image {' and '.join(map(str, unit.shown))}" if unit.shown else ""
    return ", ".join(map(in_words, unit.calls)) + forgiven + made


def _line(label: str, text: str) -> str:
    indent = "\n" + " " * (_LABEL + 1)
    return f"{label:{_LABEL}} {indent.join(text.strip().splitlines())}".rstrip()
