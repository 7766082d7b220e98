"""`virc data synth`: draw problems, with boxes and worked trajectories."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from virc_cli.console import output
from virc_cli.console.options import Json, Seed

if TYPE_CHECKING:
    from virc.data.synth.problem import Difficulty
    from virc.data.synth.worked import Pattern

FAILURE: dict[str, object] = {"to": None, "problems": None}


class DifficultyName(StrEnum):
    """What a family's own page says of each; mixed is half and half."""

    easy = "easy"
    hard = "hard"
    mixed = "mixed"


class PatternName(StrEnum):
    """What a path does; `direct` reads and answers from the overview, without a tool."""

    look = "look"
    plan = "plan"
    verify = "verify"
    plan_verify = "plan+verify"
    direct = "direct"


class SplitName(StrEnum):
    """The two disjoint splits."""

    train = "train"
    heldout = "heldout"


def command(
    to: Annotated[
        Path, typer.Option(metavar="DIR", help="New folder for pictures, questions and trajectories.")
    ],
    count: Annotated[int, typer.Option(min=1, help="Problems to draw.")] = 100,
    seed: Seed = 0,
    split: Annotated[SplitName, typer.Option(help="No figure of one is in the other.")] = SplitName.train,
    family: Annotated[
        str | None,
        typer.Option(metavar="NAME,NAME", help="Of polygons, expressions, lengths, charts and far."),
    ] = None,
    difficulty: Annotated[
        DifficultyName | None, typer.Option(help="Of all problems; with a family, mixed where none is said.")
    ] = None,
    paths: Annotated[
        int, typer.Option(min=1, max=4, metavar="N", help="Solutions a problem, in different patterns.")
    ] = 1,
    pattern: Annotated[
        PatternName | None,
        typer.Option(help="Of every solution; direct: no tool, all is read in the overview. Default: any."),
    ] = None,
    counterfactuals: Annotated[
        bool,
        typer.Option(
            "--counterfactuals", help="Each problem also gets a picture with other values, and its answer."
        ),
    ] = False,
    refusals: Annotated[
        float,
        typer.Option(min=0, max=1, metavar="SHARE", help="Of strange pictures and questions: unreadable."),
    ] = 0.0,
    sides: Annotated[
        str, typer.Option(metavar="N,N", help="Numbers of sides to choose from, where no family is named.")
    ] = "3,3,4",
    formats: Annotated[
        str, typer.Option(metavar="NAME,NAME", help="Of batch, sft, rl, prompts and trajectories.")
    ] = "batch,sft",
    embed: Annotated[
        bool, typer.Option("--embed", help="Parquet files (rl, prompts) hold the images, as published ones.")
    ] = False,
    workers: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Processes that draw; default: one a core.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Draw diagrams and charts to read, with questions, exact boxes and worked trajectories.

    The same seed makes the same folder, and a smaller count the first problems of it.
    """
    from virc.data.synth.draw import SynthConfig, write
    from virc_cli.console.progress import shown

    names = _names(formats)
    config = SynthConfig(
        to, count, seed, split.value, _numbers(sides), names, embed, workers,
        families=_names(family) if family is not None else (("polygons",) if difficulty else None),
        difficulty=_difficulty(difficulty),
        paths=paths, refusals=refusals, pattern=_pattern(pattern), counterfactuals=counterfactuals,
    )  # fmt: skip
    with shown() as show:
        folder = write(config, lambda what, done: show(f"{done} of {count} {what}"))
    if as_json:
        output.emit({"schema": "virc.data.synth/1", "to": str(folder), "problems": count, "error": None})
    else:
        output.line(str(folder))


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no list of numbers such as 3,4") from None


def _difficulty(name: DifficultyName | None) -> "Difficulty | None":
    if name is None or name is DifficultyName.mixed:
        return None
    return "easy" if name is DifficultyName.easy else "hard"


def _pattern(name: PatternName | None) -> "Pattern | None":
    return None if name is None else name.value


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())
