"""`virc eval card`: a table of results for a paper, a model card or a README."""

from pathlib import Path
from typing import Annotated, Literal

from virc_cli.console import output
from virc_cli.console.options import Json, argument, choice

FAILURE: dict[str, object] = {"tables": None}


def command(
    files: Annotated[list[Path], argument("FILE...", "results/MODEL.jsonl of evaluations.")],
    form: Annotated[Literal["markdown", "latex", "html"], choice("What to write.", "--format")] = "markdown",
    as_json: Json = False,
) -> None:
    """Print a table of results, with intervals and paired tests.

    Files on the same problems are compared, of different benchmarks have a table each; files of one model with other
    seeds give the spread. Each is scored again as by `virc eval verify`, and an edited one is refused (exit code 6).
    """
    import msgspec

    from virc_extras.studies.checking.cards import tables_of, written

    tables = tables_of(files)
    output.result(as_json, "virc.eval.card/1", {"tables": msgspec.to_builtins(tables)}, written(tables, form))
