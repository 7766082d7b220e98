"""`virc data protocol`: the chat protocol that a dataset was made with, as a file to solve with."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from virc_cli.console import output
from virc_cli.console.options import CoordinatesName, ImagesName, Json, argument, choice, option

if TYPE_CHECKING:
    from virc.data.protocol.extract import FoundProtocol

FAILURE: dict[str, object] = {"file": None, "rows": None, "units": None, "calls": None, "notes": [], "to": None,
                              "protocol": None}  # fmt: skip

_MORE = "more --rows, or another file of the same dataset"
_COMPLETE = (
    "--system-message FILE adds it; rows of the dataset have all of it: virc data protocol ROWS, and for a "
    "released model virc download ViRC-7B"
)
_WHY = {
    "caller": "as --coordinates says",
    "schema": "as the tool's schema says",
    "boxes": "as more boxes fit so",
    "nothing": "not known from the rows, --coordinates permille is the other",
}


def command(
    file: Annotated[Path, argument("FILE", "Conversations, or a folder with one file.")],
    rows: Annotated[int, option("N", "Rows to read.", min=1)] = 1000,
    coordinates: Annotated[CoordinatesName | None, choice("What boxes mean, if known.")] = None,
    images: Annotated[ImagesName | None, choice("How inputs are shown, if known.")] = None,
    system_message: Annotated[Path | None, option("FILE", "System message of rows saved without it.")] = None,
    to: Annotated[Path | None, option("FILE", "Write it to a file, not to stdout.")] = None,
    as_json: Json = False,
) -> None:
    """Find the chat protocol of conversations.

    Fails unless the chat protocol found makes every row that was read exactly. Use it with `virc solve --protocol`.
    """
    from virc.data.formats.registry import only_source
    from virc.data.protocol.extract import read_system_message, save, study_file
    from virc.models.chat_protocol import written

    output.note_left_out([file])
    source = only_source(file)
    output.know(file=str(source.file))
    found = study_file(
        source, rows, coordinates, images, read_system_message(system_message) if system_message else None
    )
    _print(found, str(source.file))
    if to:
        save(found.protocol, to)
    fields = {"file": str(source.file), **found.as_fields(), "to": str(to) if to else None}
    shown = str(to) if to else written(found.protocol).decode().rstrip("\n")
    output.result(as_json, "virc.data.protocol/1", {key: fields[key] for key in FAILURE}, [shown])


def _print(found: "FoundProtocol", file: str) -> None:
    from virc.data.protocol.extract import NO_SYSTEM

    calls = ", ".join(f"{name} {count:,}" for name, count in found.calls.items()) or "none"
    protocol = found.protocol
    output.note(
        f"{file}: {found.rows:,} rows with {found.units:,} replies, all in this chat protocol; calls: {calls}\n"
        f"tools offered: {', '.join(protocol.tools)}; coordinates: {protocol.coordinates} "
        f"({_WHY[found.coordinates_from]}); images: {protocol.images}"
    )
    for note in found.notes:
        output.warn(note, _COMPLETE if note == NO_SYSTEM else _MORE)
