"""Options that several commands share, so that each reads the same everywhere; the settings of every app."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from typer.core import TyperGroup


def group(help_text: str, epilog: str | None = None, cls: type[TyperGroup] | None = None) -> typer.Typer:
    """A Typer app without Rich (its import triples the start-up) and without Typer's traceback printer."""
    return typer.Typer(
        cls=cls,
        help=help_text,
        epilog=epilog,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )


def run_names(incomplete: str) -> list[str]:
    """Names of this workspace's runs that begin so, for the shell's completion."""
    names = (path.parent.name for path in Path("runs").glob("[!.]*/run.json"))
    return sorted(name for name in names if name.startswith(incomplete))


def family_names(incomplete: str) -> list[str]:
    """Families of stock models that begin so, for the shell's completion."""
    from virc.families import registry as families

    return [name for name in families.discover() if name.startswith(incomplete)]


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
    typer.Option(
        metavar="MODEL",
        help="Folder, short name, hub id, run or RUN@STEP; with an endpoint, the name it serves.",
    ),
]
Endpoint = Annotated[
    str | None, typer.Option(metavar="URL", help="OpenAI-compatible server, e.g. http://localhost:8000/v1.")
]
System = Annotated[
    str | None,
    typer.Option(
        metavar="SYSTEM",
        help="System the model belongs to: what its boxes mean, and whether it needs its own chat protocol.",
    ),
]
Device = Annotated[
    str | None, typer.Option(metavar="DEVICE", help="cpu, cuda, cuda:N or mps; default: the best found.")
]
MaxPixels = Annotated[
    int | None, typer.Option(min=1, metavar="PIXELS", help="Pixels an image is shown with at most.")
]
MaxTokens = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="Longest reply in tokens, its thought included.")
]
Family = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="Family of a stock model, such as qwen3-vl.", autocompletion=family_names
    ),
]
Timeout = Annotated[
    float | None, typer.Option(metavar="SECONDS", help="Longest time for a problem, all its turns.")
]
Protocol = Annotated[
    str | None,
    typer.Option(
        metavar="FILE", help="Chat protocol the model was trained with; `default`: this project's own."
    ),
]
Tools = Annotated[
    list[str] | None,
    typer.Option(
        metavar="+NAME", help="A tool of your own, offered beside those of the model's chat protocol."
    ),
]
MaxTurns = Annotated[int, typer.Option(min=1, max=1000, metavar="N", help="Turns of one solution.")]
Temperature = Annotated[
    float | None, typer.Option(metavar="T", help="0 is greedy; default 0, or 1 with several samples.")
]
Seed = Annotated[int, typer.Option(min=0, metavar="N", help="Of all that is drawn at random.")]
Offline = Annotated[bool, typer.Option("--offline", help="Fetch no picture from the network.")]
Concurrency = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=1024,
        metavar="N",
        help="Rows at a time; default 32 on vLLM and SGLang, else 16 on an endpoint, 1 for a model here, which takes "
        "that many in one batch.",
    ),
]
_RUN = "A run, as `virc runs ls` names it."
RunName = Annotated[str, typer.Argument(metavar="NAME", help=_RUN, autocompletion=run_names)]
RunNames = Annotated[list[str], typer.Argument(metavar="NAME...", help=_RUN, autocompletion=run_names)]
Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON object on stdout; it looks the same on failure.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print results and warnings only.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Print what engines write, too.")]
With = Annotated[
    list[str] | None,
    typer.Option(
        "--with",
        metavar="NAMES",
        help="Overlays of the system, separated by commas; `virc systems show SYSTEM` lists them.",
    ),
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="One setting, over all others; a dotted key reaches inside."
    ),
]


def names_of(values: list[str] | None) -> tuple[str, ...]:
    """The names in a repeatable option that also takes several, separated by commas (`--with 3b,lora`)."""
    names = [name.strip() for value in values or () for name in value.split(",")]
    return tuple(dict.fromkeys(name for name in names if name))
