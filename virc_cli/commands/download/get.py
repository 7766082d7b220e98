"""`virc download [NAME...]`: from the hub to the workspace."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

from virc.core.text import sized
from virc_cli.console import completion, events, output
from virc_cli.console.confirm import agree
from virc_cli.console.options import Json, With, argument, flag, names_of, option
from virc_cli.console.tables import folded

if TYPE_CHECKING:
    from virc.download.fetch import Item

FAILURE: dict[str, object] = {"items": None, "free": None}
EPILOG = """\b
virc download                       what the stages lack: bases, rows, images
virc download ViRC-7B               a released model, with its chat protocol
virc download eval vstar mathvista  benchmarks
virc download Qwen/Qwen2.5-VL-3B-Instruct --revision main
virc download datasets/LeonMiao/CRUX --include '*.parquet'
virc download github.com/OWNER/NAME/blob/COMMIT/rows.json
virc download ls                    what was downloaded here
virc download rm NAME               delete it
"""
_HEAD = ("what", "size", "missing", "state", "folder", "from")


def command(
    names: Annotated[list[str] | None, argument("[NAME]...", "See above.", autocompletion=completion.downloads)] = None,
    system: Annotated[
        str, option("SYSTEM", "System whose stages need it.", autocompletion=completion.systems)
    ] = "virc",
    overlays: With = None,
    revision: Annotated[str | None, option("REVISION", "Branch, tag or commit; default: main.")] = None,
    include: Annotated[list[str] | None, option("GLOB", "Only files that match; repeatable.")] = None,
    to: Annotated[Path | None, option("DIR", "Target folder, where one thing is named.")] = None,
    keep: Annotated[bool, flag("--keep", "Keep archives after they are unpacked.")] = False,
    packed: Annotated[bool, flag("--keep-packed", "Do not unpack archives.")] = False,
    yes: Annotated[bool, flag("--yes", "Do not ask.")] = False,
    dry_run: Annotated[bool, flag("--dry-run", "Print what would be fetched.")] = False,
    as_json: Json = False,
) -> None:
    """Download datasets, models, judges and benchmarks.

    NAME is a hub id (OWNER/NAME, or datasets/OWNER/NAME), the address of a file on GitHub, a short name (ViRC-3B,
    judge-7b, CRUX), the name of a benchmark, or one of

    \b
    dataset   the rows that the stages need, and all images
    base      the models that the stages start from
    model     the first released model
    judge     the first judge
    texts     what the authors of the system wrote: prompts, questions to judges
    eval      the benchmarks that follow it

    Without NAME: base and dataset, as far as they are missing. Models go into models/, data into data/; the folders
    are printed.

    After an interruption, run the same command again: it resumes inside the file. Each file is verified before it
    gets its name; archives are unpacked, then removed.
    """
    from virc.download import fetch as download
    from virc.download.wanted import DownloadConfig, resolve_requests

    config = DownloadConfig(
        names=tuple(names or ()), system=system, overlays=names_of(overlays), revision=revision,
        include=tuple(include or ()), to=to,
    )  # fmt: skip
    items = [download.with_config(download.look(want, Path.cwd())) for want in resolve_requests(config)]
    output.know(**download.fields(items))
    for refused in filter(None, map(download.not_in_process_error, items)):
        output.warn(refused.message, refused.hint)
    if dry_run:
        output.result(as_json, "virc.download/1", download.fields(items), _table(items, output.stdout()))
        return
    for line in _table(items, sys.stderr):
        output.note(line)
    wanted_items = [item for item in items if not item.want.optional]
    download.check_room(wanted_items)
    if any(item.state != "present" for item in wanted_items) and not yes:
        missing = sum(item.missing for item in wanted_items)
        question = f"fetch {sized(missing)}?" if missing else "unpack, and check what is there?"
        agree(
            question, f"to fetch {sized(missing)}", "--yes fetches it", "nothing was fetched", needs_terminal=not names
        )
    try:
        with events.printed(verbose=not sys.stderr.isatty()) as report:
            download.fetch_all(wanted_items, report, keep, packed)
    except KeyboardInterrupt:
        output.note("what came is kept: the same command resumes")
        raise
    if as_json:
        again = [item if item.want.optional else download.look(item.want, Path.cwd()) for item in items]
        output.emit("virc.download/1", download.fields(again))
        return
    for item in wanted_items:
        output.line(str(item.folder))
    for item in wanted_items:
        if item.is_model:
            output.note(f"virc config set model {_called(item)}")


def _called(item: "Item") -> str:
    import shlex

    from virc.core.files import MODELS

    in_models = item.folder.parent == Path(MODELS)
    short = item.want.known_as or (item.folder.name if in_models else None)
    return short or shlex.quote(str(item.folder.absolute()))


def _table(items: "Sequence[Item]", stream: TextIO) -> Iterator[str]:
    from virc.download.fetch import free

    yield from folded([_HEAD, *map(_cells, items)], stream)
    wanted_items = [item for item in items if not item.want.optional]
    missing = f"{sized(sum(item.missing for item in wanted_items))} to fetch"
    present = all(item.state == "present" for item in wanted_items)
    yield f"{'nothing is missing' if present else missing}; {sized(free(items))} are free there"


def _cells(item: "Item") -> tuple[str, ...]:
    from virc.download.fetch import relative

    want = item.want
    optional = want.optional and not item.here
    return (
        want.name,
        sized(item.size) if item.size is not None else "-",
        sized(item.missing) if item.missing else "-",
        item.state,
        f"on request: virc download {want.name}" if optional else relative(item.folder),
        want.repo.name if want.repo else "-",
    )
