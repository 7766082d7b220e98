"""`virc data protocol`: the chat protocol that a dataset was made with, as a file to solve with."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from virc_cli.console import output
from virc_cli.console.options import CoordinatesName, ImagesName, Json

if TYPE_CHECKING:
    from virc.data.protocol.extract import Found

FAILURE: dict[str, object] = {"file": None, "rows": None, "units": None, "calls": None, "notes": [], "to": None,
                              "protocol": None}  # fmt: skip

_MOST_BYTES = 2**20
_MORE = "more --rows, or another file of the same dataset"
_COMPLETE = (
    "--system-message FILE adds it; rows of the dataset have all of it: virc data protocol ROWS, and for a "
    "released model virc download ViRC-7B"
)


def command(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Conversations, or a folder with one file of them.")
    ],
    rows: Annotated[
        int, typer.Option(min=1, metavar="N", help="Rows to read, and to hold the chat protocol against.")
    ] = 1000,
    coordinates: Annotated[
        CoordinatesName | None, typer.Option(help="What boxes mean; default: what the rows say.")
    ] = None,
    images: Annotated[
        ImagesName | None, typer.Option(help="How inputs are shown; default: as the rows announce them.")
    ] = None,
    system_message: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="The system message, where it was not saved with them, as a file of text."
        ),
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write it there, as virc_protocol.json; default: print it."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Find the system message and the turns that conversations were made with, and print them as data.

    Every row that is read must be made exactly by the chat protocol found. `virc solve --protocol FILE` speaks it.
    """
    from virc.data.formats import conversation
    from virc.data.formats.registry import only_source
    from virc.data.protocol.extract import study_file
    from virc.models.chat_protocol import written
    from virc_cli.console import left_out

    left_out.note([file])
    source = only_source(file)
    output.know(file=str(source.file))
    saved = "" if source.format == conversation.NAME else None
    found = study_file(
        source,
        rows,
        coordinates.value if coordinates else None,
        images.value if images else None,
        _text(system_message) if system_message else saved,
    )
    _tell(found, str(source.file))
    text = written(found.protocol)
    if to:
        _write(to, text)
    if as_json:
        output.emit(_object(found, str(source.file), to))
    elif to:
        output.line(str(to))
    else:
        output.line(text.decode().rstrip("\n"))


def _tell(found: "Found", file: str) -> None:
    """Say on stderr what the chat protocol was derived from, and what these rows do not show."""
    from virc.data.protocol.extract import NO_SYSTEM

    calls = ", ".join(f"{name} {count:,}" for name, count in found.calls.items()) or "none"
    protocol = found.protocol
    output.note(
        f"{file}: {found.rows:,} rows with {found.units:,} replies, all in this chat protocol; calls: {calls}\n"
        f"tools offered: {', '.join(protocol.tools)}; coordinates: {protocol.coordinates} ({_why(found)}); "
        f"images: {protocol.images}"
    )
    for note in found.notes:
        output.warn(note, _COMPLETE if note == NO_SYSTEM else _MORE)


def _why(found: "Found") -> str:
    return {
        "caller": "as --coordinates says",
        "schema": "as the tool's schema says",
        "boxes": "as more boxes fit so",
        "nothing": "nothing tells, --coordinates permille is the other",
    }[found.told_by]


def _text(file: Path) -> str:
    """A system message as its file has it, without the line end that editors put at its end."""
    from virc.core.errors import ConfigError
    from virc.core.files import contents
    from virc.core.text import clause

    try:
        return contents(file, _MOST_BYTES).decode("utf-8-sig").removesuffix("\n").removesuffix("\r")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the system message {file}: {clause(error)}") from error


def _write(to: Path, text: bytes) -> None:
    from virc.core.errors import VircError
    from virc.core.files import write_whole
    from virc.core.text import clause

    try:
        write_whole(to, text)
    except OSError as error:
        raise VircError(f"cannot write {to}: {clause(error)}") from error


def _object(found: "Found", file: str, to: Path | None) -> dict[str, object]:
    import msgspec

    return {
        "schema": "virc.data.protocol/1",
        "file": file,
        "rows": found.rows,
        "units": found.units,
        "calls": found.calls,
        "notes": list(found.notes),
        "to": str(to) if to else None,
        "protocol": msgspec.to_builtins(found.protocol),
        "error": None,
    }
