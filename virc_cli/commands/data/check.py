"""`virc data check`: look through rows before a model learns from them."""

import time
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from virc_cli.console import output
from virc_cli.console.options import Json

if TYPE_CHECKING:
    from virc.data.check.report import Dataset, Found, Report

FAILURE: dict[str, object] = {
    "rows": None,
    "good": None,
    "faults": None,
    "first": [],
    "datasets": [],
    "clean": None,
}
_PROGRESS_SECONDS = 10.0


class CoordinatesName(StrEnum):
    """What boxes mean."""

    auto = "auto"
    pixel = "pixel"
    permille = "permille"


def command(
    path: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Files of rows, or folders of them.")],
    against: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="VAL", help="Held-out rows, whose pictures must not be in PATH; may be repeated."
        ),
    ] = None,
    coordinates: Annotated[
        CoordinatesName, typer.Option(help="What boxes mean; auto finds out.")
    ] = CoordinatesName.auto,
    system: Annotated[
        str | None,
        typer.Option(
            metavar="SYSTEM", help="Rows in the words of this system, its grammar, tools and boxes."
        ),
    ] = None,
    first: Annotated[int, typer.Option(min=0, metavar="N", help="Faults of each kind to print.")] = 5,
    workers: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Processes; default: one for each core; 1 is this one."),
    ] = None,
    clean: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="New folder for the rows without faults, in their format."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Open every picture, parse every turn, carry out every tool call; print what is wrong, and what rows hold.

    Rows on which LLaMA-Factory or verl would stop, or which they would drop or change in silence, are faults too.
    Exit code 5 where there are any.
    """
    from virc.core.errors import DataError
    from virc.core.parallel import cores
    from virc.data.check.files import CheckConfig, check
    from virc_cli.console import left_out

    config = CheckConfig(path, against or (), coordinates.value, system, first, workers or cores(), clean)
    left_out.note([*path, *(against or ())])
    told: list[Found] = []
    report = check(config, told.append if as_json else _tell, _Progress())
    if clean:
        output.note(
            f"{report.kept} rows are in {clean}, {report.rows - report.good} with faults were left out"
        )
    if not as_json:
        _summarise(report)
    fields = _fields(report, told, clean)
    if report.faults:
        output.know(**fields)
        raise DataError(_verdict(report), None if clean else "--clean DIR keeps the other rows")
    if as_json:
        output.emit({"schema": "virc.data.check/1", **fields, "error": None})


class _Progress:
    """Rows and faults so far, every few seconds."""

    def __init__(self) -> None:
        self._told = time.monotonic()

    def __call__(self, report: "Report") -> None:
        if time.monotonic() - self._told > _PROGRESS_SECONDS:
            self._told = time.monotonic()
            output.note(f"{report.rows} rows, {report.rows - report.good} with faults")


def _tell(found: "Found") -> None:
    place = found.file if found.row is None else f"{found.file}:{found.row}"
    of_whom = "" if found.id is None else f" (id {found.id})"
    output.line(f"{place}: {found.kind}: {found.message}{of_whom}")


def _verdict(report: "Report") -> str:
    bad = report.rows - report.good
    return (
        f"{bad} of {report.rows} rows have faults" if bad else "no row has a fault, but dataset_info.json has"
    )


def _summarise(report: "Report") -> None:
    for dataset in report.datasets:
        for text in _lines(dataset):
            output.line(text)
    output.line(f"{report.rows} rows, {report.good} good" + (", faults:" if report.faults else ""))
    for kind, count in report.faults.items():
        output.line(f"  {kind} {count}")


def _lines(dataset: "Dataset") -> Iterator[str]:
    held = dataset.held
    role = ", held out" if dataset.held_out else ""
    yield f"{dataset.file} ({dataset.format}{role}): {dataset.rows} rows, {dataset.good} good"
    if held.boxes:
        neither = held.boxes - held.pixel - held.permille - held.both
        yield f"  boxes are {dataset.coordinates}: {dataset.why}"
        yield (
            f"  of {held.boxes} boxes {held.pixel} fit only as pixels, {held.permille} only as 0..999, "
            f"{held.both} as either, {neither} as neither"
        )
    unseen = f", {held.unseen} of them on the network and not opened" if held.unseen else ""
    inputs = (
        f"{held.square} of 1000 x 1000 px, {held.on_grid} on the patch grid, {held.off_grid} of other sizes"
    )
    yield f"  {held.images} images{unseen}; inputs: {inputs}"
    if dataset.chat_protocols:
        yield f"  system messages: {_chat_protocols(dataset)}"
    if held.unanswered:
        yield f"  {held.unanswered} problems have no answer"


def _chat_protocols(dataset: "Dataset") -> str:
    shown = dataset.chat_protocols[:5]
    texts = [f"{each.sha256 or 'none'} in {each.rows} rows from row {each.first}" for each in shown]
    more = len(dataset.chat_protocols) - len(shown)
    return "; ".join(texts) + (f"; {more}{'+' if dataset.more_chat_protocols else ''} others" if more else "")


def _fields(report: "Report", told: "list[Found]", clean: Path | None) -> dict[str, Any]:
    import msgspec

    return {
        "rows": report.rows,
        "good": report.good,
        "faults": report.faults,
        "first": msgspec.to_builtins(told),
        "datasets": msgspec.to_builtins(report.datasets),
        "clean": str(clean) if clean else None,
    }
