"""`virc data check`: check rows before a model learns from them."""

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from virc.core.errors import DataError
from virc.core.text import counted
from virc_cli.console import completion, events, output
from virc_cli.console.options import (
    Ignored,
    Json,
    LayoutFile,
    Quiet,
    TrustRows,
    Verbose,
    Workers,
    argument,
    choice,
    option,
)

if TYPE_CHECKING:
    from virc.data.check.run import DatasetReport, LocatedFault, Report

FAILURE: dict[str, object] = {
    "rows": None, "good": None, "faults": None, "stops": None, "first": [], "datasets": [], "clean": None
}  # fmt: skip


def command(
    path: Annotated[list[Path], argument("PATH...", "Files of rows, or folders of them.")],
    against: Annotated[
        list[Path] | None, option("VAL", "Held-out rows that share no image; training ignores them.")
    ] = None,
    group_by: Annotated[str | None, option("COLUMN", "Column whose values VAL must not share either.")] = None,
    coordinates: Annotated[Literal["auto", "pixel", "permille"], choice("What boxes mean; auto finds out.")] = "auto",
    system: Annotated[str | None, option("SYSTEM", "System whose chat protocol the rows are in.")] = None,
    family: Annotated[
        str | None, option("NAME", "Family whose patch grid images are on.", autocompletion=completion.families)
    ] = None,
    first: Annotated[int, option("N", "Faults of each kind to print.", min=0)] = 5,
    workers: Workers = None,
    clean: Annotated[Path | None, option("DIR", "New folder for the rows without faults.")] = None,
    draw: Annotated[Path | None, option("DIR", "Folder for the pictures of five rows, with their boxes.")] = None,
    layout: LayoutFile = None,
    ignore: Ignored = None,
    trust_rows: TrustRows = False,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Check images, turns and tool calls of rows.

    What LLaMA-Factory or verl would stop at, drop or change without a word is a fault, too, and so is a column that
    holds a part of the problem and is not read (--ignore). Exit code 5 if `virc train` refuses the rows; it takes
    rows with other faults as they are, such as replies whose tags or calls are wrong. A row whose image is held out
    (--against), also in another size or encoding, is the exception: only the check knows of it.

    Images are in the folder of their rows, or in a folder that a link directly in it leads to. No other link out of it
    is followed. One that opened is not decoded again, but for --against, while its file has the same size and times.
    """
    from virc.core.work.parallel import cores
    from virc.data.check.run import CheckConfig, check_rows_of, rows_of

    config = CheckConfig(
        path, against or (), group_by, coordinates, system, family, layout, ignore or (), first, workers or cores(),
        clean, trust_rows,
    )  # fmt: skip
    output.note_left_out([*path, *(against or ())], system, layout)
    if draw:
        from virc.data.show import draw_boxes

        output.note(f"{counted(len(draw_boxes(rows_of(config), draw)), 'row')} with boxes drawn in {draw}")
    found: list[LocatedFault] = []
    with events.printed(quiet, verbose) as reporter:

        def on_row(report: "Report") -> None:
            reporter.progress(f"{counted(report.rows, 'row')}, {report.rows - report.good} with faults")

        report = check_rows_of(config, found.append if as_json else _print_fault, on_row)
    if clean:
        left = report.rows - report.good
        verb = "is" if report.kept == 1 else "are"
        kept = f"{counted(report.kept, 'row')} {verb} in {clean}, {left} with faults were left out"
        none = f"every row has a fault, so {clean} has none"
        output.note("; ".join([kept if report.kept else none, *report.left_unread]))
    if not as_json:
        output.lines(_summary(report))
    if unanswered := sum(each.counts.unanswered for each in report.datasets):
        have = f"{counted(unanswered, 'problem')} {'has' if unanswered == 1 else 'have'} no answer"
        output.warn(f"{have}: virc batch solves such rows, and virc train and virc eval refuse them")
    fields = _fields(report, found, clean)
    hint = None if clean or not report.good else "--clean DIR keeps the other rows"
    without_images = [each for each in report.datasets if each.faults.get("image_missing") == each.rows]
    if without_images and not report.good and layout is None:
        file = shlex.quote(without_images[0].file)
        hint = f"virc data layout {file} --write mine.yaml looks for them in other folders, for --layout mine.yaml"
    if report.stops:
        output.know(**fields)
        raise DataError(report.summary, hint)
    if report.faults:
        output.warn(f"{report.summary} that training takes as they are", hint)
    if as_json:
        output.emit("virc.data.check/1", fields)


def _print_fault(fault: "LocatedFault") -> None:
    place = fault.file if fault.row is None else f"{fault.file}:{fault.row}"
    row_id = "" if fault.id is None else f" (id {fault.id})"
    output.line(f"{place}: {fault.kind}: {fault.message}{row_id}")


def _summary(report: "Report") -> Iterator[str]:
    for dataset in report.datasets:
        yield from _lines(dataset)
    yield f"{counted(report.rows, 'row')}, {report.good} good" + (", faults:" if report.faults else "")
    for kind, count in report.faults.items():
        yield f"  {kind} {count}" + ("" if kind in report.stops else " (training takes such rows)")


def _lines(dataset: "DatasetReport") -> Iterator[str]:
    from virc.config.taken import Left

    counts = dataset.counts
    role = (f", layout {dataset.layout}" if dataset.layout else "") + (", held out" if dataset.held_out else "")
    yield f"{dataset.file} ({dataset.format}{role}): {counted(dataset.rows, 'row')}, {dataset.good} good"
    if counts.boxes:
        neither = counts.boxes - counts.pixel - counts.permille - counts.both
        yield f"  boxes are {dataset.coordinates}: {dataset.why}"
        yield (
            f"  of {counts.boxes} boxes {counts.pixel} fit only as pixels, {counts.permille} only as 0..999, "
            f"{counts.both} as either, {neither} as neither"
        )
    unseen = f", {counts.unseen} of them on the network and not opened" if counts.unseen else ""
    sizes = f"{counts.square} of 1000 x 1000 px, {counts.on_grid} on the patch grid, {counts.off_grid} of other sizes"
    yield f"  {counted(counts.images, 'image')}{unseen}; inputs: {sizes}"
    if counts.crowds:
        yield f"  {counted(counts.crowds, 'crowd')} (boxes around many objects), which are no part of answers"
    for line in (*Left.of(dataset.left).sentences(), *dataset.reasons):
        yield f"  {line}"
    if dataset.unread_columns:
        listed = ", ".join(f"{name} in {counted(rows, 'row')}" for name, rows in dataset.unread_columns.items())
        yield f"  columns that hold a part of the problem and are not read: {listed}"


def _fields(report: "Report", found: "list[LocatedFault]", clean: Path | None) -> dict[str, Any]:
    import msgspec

    counts = {name: getattr(report, name) for name in ("rows", "good", "faults", "stops")}
    listed = {"first": msgspec.to_builtins(found), "datasets": msgspec.to_builtins(report.datasets)}
    return {**counts, **listed, "clean": str(clean) if clean else None}
