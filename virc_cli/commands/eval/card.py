"""`virc eval card`: a table of results for a paper, a model card or a README."""

from pathlib import Path
from typing import Annotated, Literal

import typer


def command(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="results/MODEL.jsonl of evaluations.")],
    form: Annotated[Literal["markdown", "latex", "html"], typer.Option("--format", help="What to write.")] = "markdown",
) -> None:
    """Print a table of results, with intervals and paired tests.

    Files on the same problems are compared, of different benchmarks have a table each; files of one model with other
    seeds give the spread. Each is scored again as by `virc eval verify`, and an edited one is refused (exit code 6).
    """
    from virc.evaluation.checking.cards import card
    from virc_cli.console import output

    output.lines(card(files, form))
