"""Options that several commands share, so that each reads the same everywhere; the settings of every app."""

from enum import StrEnum
from typing import Annotated

import typer


def group(help_text: str, epilog: str | None = None) -> typer.Typer:
    """A Typer app without Rich (its import triples the start-up) and without Typer's traceback printer."""
    return typer.Typer(
        help=help_text,
        epilog=epilog,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )


class CoordinatesName(StrEnum):
    """What boxes are counted in."""

    pixel = "pixel"
    permille = "permille"


class ImagesName(StrEnum):
    """How inputs are shown."""

    smart = "smart"
    square_1000 = "square_1000"


Model = Annotated[
    str | None,
    typer.Option(metavar="MODEL", help="Folder, short name or hub id; with an endpoint, the name it serves."),
]
Endpoint = Annotated[
    str | None, typer.Option(metavar="URL", help="OpenAI-compatible server, e.g. http://localhost:8000/v1.")
]
System = Annotated[
    str | None,
    typer.Option(
        metavar="SYSTEM",
        help="System the model belongs to: what its boxes mean, and whether it needs its own wording.",
    ),
]
Device = Annotated[
    str | None, typer.Option(metavar="DEVICE", help="cpu, cuda, cuda:N or mps; default: the best found.")
]
MaxPixels = Annotated[
    int | None, typer.Option(min=1, metavar="PIXELS", help="Pixels an image is shown with at most.")
]
Timeout = Annotated[
    float | None, typer.Option(metavar="SECONDS", help="Longest time for a problem, all its turns.")
]
Protocol = Annotated[
    str | None,
    typer.Option(metavar="FILE", help="Wording the model was trained with; `default`: this project's own."),
]
MaxTurns = Annotated[int, typer.Option(min=1, max=1000, metavar="N", help="Turns of one solution.")]
Seed = Annotated[int, typer.Option(min=0, metavar="N", help="Of all that is drawn at random.")]
Offline = Annotated[bool, typer.Option("--offline", help="Fetch no picture from the network.")]
Concurrency = Annotated[
    int | None, typer.Option(min=1, max=1024, metavar="N", help="Rows at a time; default 16 on an endpoint.")
]
Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON object on stdout; it looks the same on failure.")
]
