"""`virc data synth`: draw problems, with boxes and worked trajectories."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from virc_cli.console import events, output
from virc_cli.console.options import Json, Quiet, Seed, Verbose, Workers, choice, flag, option

FAILURE: dict[str, object] = {"to": None, "problems": None}


def command(
    to: Annotated[Path, option("DIR", "New folder for the dataset.")],
    count: Annotated[int, choice("Problems to draw.", min=1)] = 100,
    seed: Seed = 0,
    split: Annotated[Literal["train", "heldout"], choice("Splits share no figure.")] = "train",
    family: Annotated[str | None, option("NAME,NAME", "Families to draw from, see above.")] = None,
    difficulty: Annotated[Literal["easy", "hard", "mixed"] | None, choice("Difficulty of all problems.")] = None,
    paths: Annotated[int, option("N", "Solutions per problem.", min=1, max=4)] = 1,
    pattern: Annotated[
        Literal["look", "plan", "verify", "plan+verify", "direct"] | None, choice("Pattern of every solution.")
    ] = None,
    counterfactuals: Annotated[bool, flag("--counterfactuals", "Also draw each problem with other values.")] = False,
    refusals: Annotated[float, option("SHARE", "Share of unreadable problems.", min=0, max=1)] = 0.0,
    sides: Annotated[str, option("N,N", "Sides of polygons, without --family.")] = "3,3,4",
    formats: Annotated[str, option("NAME,NAME", "Formats to write.")] = "batch,sft",
    drawing: Annotated[int, option("N", "1: the problems that figures of `tiny` are measured with.", min=1, max=2)] = 2,
    embed: Annotated[bool, flag("--embed", "Put images into parquet files.")] = False,
    system: Annotated[str | None, option("SYSTEM", "Show pages and cut crops as it does.")] = None,
    workers: Workers = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Draw problems with exact boxes and solutions.

    Families: polygons, sheets; clips, documents, with --formats batch alone. Formats: batch, sft, rl, prompts,
    trajectories.
    With a family, the difficulty is mixed unless one is named; several solutions of a problem have different patterns,
    and the pattern direct uses no tool. --counterfactuals adds a picture with other values and its answer to each
    problem. Problems of --refusals have pictures or questions that the answer `unreadable` is right for: pictures of
    another kind, figures too small to read, and questions about what a figure has not.

    --system shows pages and cuts crops in trajectories as that system or YAML says (crops, input_pixels and the like);
    problems keep the page's own size. Pages of sheets have 12 megapixels and are made for it.

    The same seed makes the same folder, and a smaller count the first problems of it.
    """
    from virc.data.synth.draw import SynthConfig, protocol_of, write

    config = SynthConfig(
        to, count, seed, split, _numbers(sides), _names(formats), embed, workers,
        families=_names(family) if family is not None else (("polygons",) if difficulty else None),
        difficulty=None if difficulty == "mixed" else difficulty,
        paths=paths, refusals=refusals, pattern=pattern, counterfactuals=counterfactuals,
        drawing=1 if drawing == 1 else 2, protocol=protocol_of(system),
    )  # fmt: skip
    with events.printed(quiet, verbose) as report:
        folder = write(config, lambda what, done: report.progress(f"{done} of {count} {what}"))
    output.result(as_json, "virc.data.synth/1", {"to": str(folder), "problems": count}, [str(folder)])


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no list of numbers such as 3,4") from None


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())
