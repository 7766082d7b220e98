"""`virc download [NAME...]`: from the hub to the workspace."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from virc_cli.console import output
from virc_cli.console.options import Json, With, names_of

if TYPE_CHECKING:
    from virc.download.fetch import Item
    from virc.download.wanted import Want

FAILURE: dict[str, object] = {"items": None, "free": None}
EPILOG = """\b
virc download                       what the stages lack: bases, rows, images
virc download ViRC-7B               a released model, with its chat protocol
virc download eval vstar mathvista  benchmarks
virc download Qwen/Qwen2.5-VL-3B-Instruct --revision main
virc download datasets/LeonMiao/CRUX --include '*.parquet'
virc download ls                    what was downloaded here
virc download rm NAME               delete it
"""


def names_to_download(context: typer.Context, incomplete: str) -> list[str]:
    """Names that begin so, for the shell's completion."""
    from virc.download import wanted as wants

    given = context.params.get("names") or ()
    known = set(wants.published())
    if "eval" not in given:
        known |= {*wants.KINDS, *wants.short_names()} | (set() if given else {"ls", "rm"})
    return sorted(name for name in known - set(given) if name.startswith(incomplete))


def command(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]...", help="See above.", show_default=False, autocompletion=names_to_download
        ),
    ] = None,
    system: Annotated[
        str, typer.Option(metavar="SYSTEM", help="Whose stages, models and judges are meant.")
    ] = "virc",
    overlays: With = None,
    revision: Annotated[
        str | None,
        typer.Option(metavar="REVISION", help="Branch, tag or commit; default: the newest of main."),
    ] = None,
    include: Annotated[
        list[str] | None,
        typer.Option(metavar="GLOB", help="Only files whose names match, e.g. '*.json'; may be given again."),
    ] = None,
    to: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder for the one thing that is named.")
    ] = None,
    stream: Annotated[
        bool,
        typer.Option(
            "--stream",
            help="Unpack archives while they come, so that they never lie on the disk; an interruption restarts them.",
        ),
    ] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Leave archives beside what was in them.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be fetched, and end.")] = False,
    as_json: Json = False,
) -> None:
    """Bring datasets, models, judges and benchmarks from the hub; their folders are printed.

    NAME is a hub id (OWNER/NAME, or datasets/OWNER/NAME), a short name (ViRC-3B, judge-7b, CRUX), the name of a
    benchmark, or one of

    \b
    dataset   the rows that the stages need, and all images
    base      the models that the stages begin with
    model     the first released model
    judge     the first judge
    eval      the benchmarks that follow it

    Without NAME: base and dataset, as far as they are lacking. Models come into models/, data into data/.

    After an interruption, type the same again: it goes on inside the file. All is verified before it has its name;
    archives are unpacked, then removed.
    """
    from virc.core.errors import UsageError
    from virc.download import fetch as download
    from virc.download import wanted as wants
    from virc_cli import downloading

    if stream and keep:
        raise UsageError("--stream and --keep exclude one another: a stream leaves no archive")
    config = wants.DownloadConfig(
        names=tuple(names or ()),
        system=system,
        overlays=names_of(overlays),
        revision=revision,
        include=tuple(include or ()),
        to=to,
    )
    items = [_looked(want) for want in wants.wanted(config)]
    output.know(**downloading.fields(items))
    if dry_run:
        _print_plan(items, as_json)
        return
    for line in downloading.table(items, downloading.width(sys.stderr)):
        output.note(line)
    asked = [item for item in items if not item.want.told]
    download.check_room(asked, stream)
    if any(item.state != "present" for item in asked):
        downloading.agree(asked, yes, bare=not names)
    downloading.fetch(asked, keep, stream)
    if as_json:
        again = [item if item.want.told else _looked(item.want) for item in items]
        output.emit({"schema": "virc.download/1", **downloading.fields(again), "error": None})
        return
    for item in asked:
        output.line(str(item.folder))
    for item in filter(downloading.is_askable, asked):
        output.note(f"virc config set model {downloading.called(item)}")


def _looked(want: "Want") -> "Item":
    from virc.download.fetch import look

    return look(want, Path.cwd())


def _print_plan(items: "list[Item]", as_json: bool) -> None:
    from virc_cli import downloading

    if as_json:
        output.emit({"schema": "virc.download/1", **downloading.fields(items), "error": None})
        return
    for line in downloading.table(items, downloading.width(sys.stdout)):
        output.line(line)
