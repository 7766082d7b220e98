"""`virc data convert`: rows of one format become rows of another, all of them or some."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from virc.core.errors import UsageError
from virc.core.options import spelled
from virc.core.text import counted, sized
from virc_cli.console import events, options, output
from virc_cli.console.options import argument, choice, flag, option

if TYPE_CHECKING:
    from fractions import Fraction

    from virc.data.convert.convert import Report, Split

FAILURE: dict[str, object] = {
    "to": None, "format": None, "datasets": [], "lost": None, "faults": [], "reasons": [], "left": [],
    "boxes": None,
    "images_bytes": None, "unshared_bytes": None, "rows_bytes": None, "chat_protocols": None,
}  # fmt: skip


def command(
    sources: Annotated[list[Path], argument("SRC...", "Files of rows, or their folders.")],
    to: Annotated[Path, option("DIR", "New folder for the rows and their images.")],
    format: Annotated[str, option("FORMAT", "Format to write, see above.")],
    name: Annotated[str | None, option("NAME", "Join all sources to one dataset.")] = None,
    embed: Annotated[bool, flag("--embed", "Put images into the rows (rl, prompts).")] = False,
    coordinates: Annotated[options.CoordinatesName | None, choice("Count boxes in these units.")] = None,
    images: Annotated[options.ImagesName | None, choice("Show inputs this way.")] = None,
    protocol: Annotated[str | None, option("FILE", "Chat protocol to write, or `default`; see above.")] = None,
    system: Annotated[str | None, option("SYSTEM", "Write trajectories for this system, see above.")] = None,
    max_pixels: options.MaxPixels = None,
    page: options.Page = None,
    fps: options.Fps = None,
    frames: options.Frames = None,
    answers: Annotated[bool, flag("--answers", "Make trajectories of problems and their answers.")] = False,
    model: options.Model = None,
    limit: Annotated[int | None, option("N", "Rows of each dataset.", min=1)] = None,
    seed: options.Seed = 0,
    weights: Annotated[str | None, option("N,N", "Mix the sources in these proportions.")] = None,
    split: Annotated[str | None, option("NAME=SHARE", "Set rows aside, e.g. val=0.05.")] = None,
    group_by: Annotated[str | None, option("COLUMN", "Keep rows with one value on one side of --split.")] = None,
    skip_faulty: Annotated[bool, flag("--skip-faulty", "Leave out faulty rows.")] = False,
    workers: options.Workers = None,
    layout: options.LayoutFile = None,
    ignore: options.Ignored = None,
    trust_rows: options.TrustRows = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Write rows in another format or chat protocol.

    Formats: sft, trajectories and pairs (LLaMA-Factory), rl (verl, a row per unit), prompts (verl, multi-turn), batch.
    Each image is stored once, also one of a folder that a link directly in SRC's leads to; no other link out of it is
    followed. Clips and PDFs become their frames and pages, behind lines that say which. The folder is printed.

    --coordinates: images of up to 999 px lose nothing on the way there and back; on longer sides a box may come back
    side / 1998 px off. --images scales boxes, and makes other images and user turns again; inputs that are 1000 x 1000
    px stay so. --protocol is the chat protocol to write if boxes or images change, else that of the rows; without
    it, virc_protocol.json next to SRC, else what the rows show. --system writes turns in the grammar and boxes of that
    system, leaves out calls that it has no tool for, and puts its name into data_source.

    --answers writes what `virc solve --model MODEL` sends, and the answer as the reply; before it the row's `calls` and
    a crop of each box in its `boxes`. With --system alone, MODEL is the base of its stages. --max-pixels makes images
    smaller, and boxes with them; of trajectories crops are made again.

    A smaller --limit is part of a larger one; with --weights it counts all rows. No input image is on both sides of a
    --split, nor a copy of it in another size or encoding.
    """
    import msgspec

    from virc.config import user
    from virc.core.work.parallel import cores
    from virc.data.convert.change import Target
    from virc.data.convert.convert import ConvertConfig, convert
    from virc.reasoning.media import media_choice

    if answers and model is None and system is None:
        model = user.values(user.chosen()).model
    target = Target(coordinates, images, protocol, system, max_pixels, answers, model)
    config = ConvertConfig(
        sources, to, format, name, target, embed, limit, _weights(weights), seed, _split(split, group_by), skip_faulty,
        layout, ignore or (), workers or cores(), trust_rows, media_choice(page, None, fps, frames),
    )  # fmt: skip
    output.note_left_out(sources, system, layout)
    with events.printed(quiet, verbose) as reporter:
        report = convert(config, lambda rows: reporter.progress(counted(rows, "row")))
    if not quiet:
        _print(report, coordinates, images)
    if report.chat_protocols > 1:
        output.warn(
            f"the datasets have {report.chat_protocols} chat protocols, so no virc_protocol.json is written",
            "convert each alone: its own is then written beside its rows",
        )
    fields = {"to": str(to), "format": format, **msgspec.to_builtins(report)}
    output.result(as_json, "virc.data.convert/1", fields, [str(to)])


def _print(report: "Report", units: options.CoordinatesName | None, shown: options.ImagesName | None) -> None:
    from virc.config.taken import Left

    for reason in report.reasons:
        output.note(spelled(reason))
    if shown == "smart":
        output.note("input files stay as they are: those of 1000 x 1000 px do not get their proportions back")
    if report.lost:
        output.note(f"lost in this format: {report.lost}")
    for sentence in Left.of(report.left).sentences():
        output.note(sentence)
    boxes = report.boxes
    if boxes.written:
        exact = "all exact on the way back"
        if boxes.inexact:
            unit = "thousandths" if units == "pixel" else "px"
            exact = f"{boxes.inexact} of them would come back changed, by up to {boxes.error} {unit}"
        output.note(f"{boxes.written} {'box' if boxes.written == 1 else 'boxes'} converted, {exact}")
    for fault in report.faults:
        output.note(f"left out: {fault}")
    for dataset in report.datasets:
        left = f", {dataset.left_out} left out" if dataset.left_out else ""
        output.note(f"{dataset.name}: {counted(dataset.rows_in, 'row')} read, {dataset.rows_out} written{left}")
    images = "images in them"
    if report.images_bytes:
        unshared = sized(report.unshared_bytes)
        images = f"images {sized(report.images_bytes)}; {unshared} if every row had its own"
    output.note(f"rows {sized(report.rows_bytes)}, {images}")


def _weights(text: str | None) -> "list[Fraction]":
    from fractions import Fraction

    try:
        weights = [Fraction(part) for part in (text or "").split(",") if text]
    except (ValueError, ZeroDivisionError):
        weights = [Fraction(0)]
    if any(weight <= 0 for weight in weights):
        raise typer.BadParameter(f"{text!r} is no list of weights such as 2,1")
    return weights


def _split(text: str | None, group_by: str | None) -> "Split | None":
    from virc.data.convert.convert import Split

    if text is None:
        if group_by:
            raise UsageError("--group-by is for rows that are set aside", "--split val=0.05")
        return None
    name, _, share = text.partition("=")
    try:
        split = Split(name, float(share), group_by)
    except ValueError:
        split = Split(name, 0)
    if not 0 < split.share < 1 or name in ("", "train"):
        raise typer.BadParameter(f"{text!r} is no part to set aside such as val=0.05")
    return split
