"""`virc merge`: a checkpoint becomes a model that can be loaded, served and published."""

from pathlib import Path
from typing import Annotated

import typer

from virc_cli.console import completion
from virc_cli.console.options import Json

FAILURE: dict[str, object] = {
    "to": None, "source": None, "kind": None, "step": None, "parameters": None, "protocol": None, "answer": None,
}  # fmt: skip


def command(
    source: Annotated[
        str,
        typer.Argument(
            metavar="RUN|CHECKPOINT",
            help="A run (its newest checkpoint), RUN@STEP, a folder of shards, or an adapter.",
            show_default=False,
            autocompletion=completion.runs,
        ),
    ],
    to: Annotated[
        Path | None, typer.Option(metavar="DIR", help="New folder for the model; default: models/RUN.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the exact command and environment; write nothing.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Make a model of a checkpoint: one set of weights, with tokenizer, chat protocol and card; the folder is printed.

    Shards are merged in the environment `rl`, an adapter is added to its base in this one. Nothing in a checkpoint
    is run. At the end the model is asked about a drawn diagram.
    """
    from virc_cli import merging

    merging.merge(source, to, dry_run, as_json)
