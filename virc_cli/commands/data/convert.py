"""`virc data convert`: rows of one format become rows of another, all of them or some."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from virc_cli.console import output
from virc_cli.console.options import CoordinatesName, ImagesName, Json, Seed

if TYPE_CHECKING:
    from fractions import Fraction

    from virc.data.convert.convert import Report, Split

FAILURE: dict[str, object] = {
    "to": None, "format": None, "datasets": [], "lost": None, "faults": [], "boxes": None, "images_bytes": None,
    "unshared_bytes": None, "rows_bytes": None, "chat_protocols": None,
}  # fmt: skip


def command(
    sources: Annotated[
        list[Path], typer.Argument(metavar="SRC...", help="Files of rows, or folders of them.")
    ],
    to: Annotated[Path, typer.Option(metavar="DIR", help="New folder; it appears whole or not at all.")],
    format: Annotated[
        str,
        typer.Option(
            "--format", metavar="FORMAT", help="sft, trajectories, rl, prompts, batch or conversation."
        ),
    ],
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Make one dataset of that name of all sources.")
    ] = None,
    embed: Annotated[
        bool, typer.Option("--embed", help="Put images into the rows (rl, prompts), as published files do.")
    ] = False,
    coordinates: Annotated[
        CoordinatesName | None,
        typer.Option(
            help="Count boxes in pixels or 0 to 999. Images of up to 999 px lose nothing on the way there and back, "
            "on longer sides a box may come back side / 1998 px off."
        ),
    ] = None,
    images: Annotated[
        ImagesName | None,
        typer.Option(
            help="Show inputs on the patch grid, or at 1000 x 1000 px: boxes are scaled, other images and user turns "
            "made anew. Inputs that are 1000 x 1000 stay so; their proportions are lost."
        ),
    ] = None,
    protocol: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Chat protocol to write where boxes or images change, else that of the rows; `default`: this "
            "project's own. Without: virc_protocol.json beside SRC, else what the rows show.",
        ),
    ] = None,
    system: Annotated[
        str | None,
        typer.Option(
            metavar="SYSTEM",
            help="Write trajectories as this system would have had them: in its words, grammar and boxes. Calls that "
            "it has no tool for are left out. Rows get its name as data_source.",
        ),
    ] = None,
    take: Annotated[
        int | None,
        typer.Option(
            "--limit", min=1, metavar="N", help="Rows of each dataset; a smaller N is within a larger one."
        ),
    ] = None,
    seed: Seed = 0,
    weights: Annotated[
        str | None,
        typer.Option(metavar="N,N", help="Mix the sources in these proportions; with --limit N rows in all."),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            metavar="NAME=SHARE",
            help="Set rows aside, e.g. val=0.05; no input picture is on both sides.",
        ),
    ] = None,
    skip_faulty: Annotated[
        bool, typer.Option("--skip-faulty", help="Leave out rows that cannot be read or written.")
    ] = False,
    workers: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Processes that make images; default: one for each core."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write rows in another format, for another model, or some of them; images are kept once.

    Formats: sft and trajectories (LLaMA-Factory), rl (verl, a row for each unit), prompts (verl, multi-turn), batch,
    conversation (one row). The folder is printed.
    """
    from virc.core.parallel import cores
    from virc.data.convert.change import Wanted
    from virc.data.convert.convert import ConvertConfig, convert
    from virc_cli.console import left_out
    from virc_cli.console.progress import shown

    wanted = Wanted(
        coordinates.value if coordinates else None, images.value if images else None, protocol, system
    )
    config = ConvertConfig(
        sources, to, format, name, wanted, embed, take, _weights(weights), seed, _split(split), skip_faulty,
        workers or cores(),
    )  # fmt: skip
    left_out.note(sources)
    with shown() as show:
        report = convert(config, lambda rows: show(f"{rows} rows"))
    _tell(report, coordinates, images)
    if as_json:
        output.emit({"schema": "virc.data.convert/1", **_fields(report, to, format), "error": None})
    else:
        output.line(str(to))


def _tell(report: "Report", coordinates: CoordinatesName | None, images: ImagesName | None) -> None:
    from virc_cli.console.progress import sized

    if images == ImagesName.smart:
        output.note(
            "inputs stay the files they are: those of 1000 x 1000 px do not get their proportions back"
        )
    if report.lost:
        output.note(f"lost in this format: {report.lost}")
    boxes = report.boxes
    if boxes.written:
        back = (
            f"{boxes.inexact} of them would come back changed"
            if boxes.inexact
            else "all exact on the way back"
        )
        most = f", by up to {boxes.error} {'thousandths' if coordinates == 'pixel' else 'px'}"
        output.note(f"{boxes.written} boxes written anew, {back}{most if boxes.inexact else ''}")
    for fault in report.faults:
        output.note(f"left out: {fault}")
    for dataset in report.datasets:
        left = f", {dataset.left_out} left out" if dataset.left_out else ""
        output.note(f"{dataset.name}: {dataset.rows_in} rows read, {dataset.rows_out} written{left}")
    if report.chat_protocols > 1:
        output.warn(
            f"the datasets have {report.chat_protocols} chat protocols, so none lies beside them",
            "virc data protocol FILE finds that of one",
        )
    stored, unshared = sized(report.images_bytes), sized(report.unshared_bytes)
    within = (
        f"images {stored}; {unshared} if every row held its own" if report.images_bytes else "images in them"
    )
    output.note(f"rows {sized(report.rows_bytes)}, {within}")


def _fields(report: "Report", to: Path, format: str) -> dict[str, Any]:
    import msgspec

    fields: dict[str, Any] = msgspec.to_builtins(report)
    return {"to": str(to), "format": format, **fields}


def _weights(text: str | None) -> "list[Fraction]":
    from fractions import Fraction

    try:
        weights = [Fraction(part) for part in (text or "").split(",") if text]
    except (ValueError, ZeroDivisionError):
        weights = [Fraction(0)]
    if any(weight <= 0 for weight in weights):
        raise typer.BadParameter(f"{text!r} is no list of weights such as 2,1")
    return weights


def _split(text: str | None) -> "Split | None":
    from virc.data.convert.convert import Split

    if text is None:
        return None
    name, _, share = text.partition("=")
    try:
        split = Split(name, float(share))
    except ValueError:
        split = Split(name, 0)
    if not 0 < split.share < 1 or name in ("", "train"):
        raise typer.BadParameter(f"{text!r} is no part to set aside such as val=0.05")
    return split
