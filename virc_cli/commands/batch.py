"""`virc batch`: many questions in, a line for each answer out."""

from collections.abc import Sequence
from typing import Annotated

from virc.config.options import BatchOptions
from virc.core.errors import UsageError
from virc.core.interpreter import collection_paused
from virc_cli.console import events, output
from virc_cli.console.asking import OF_SOLVING, Asked, asking
from virc_cli.console.options import argument, flag, option

EPILOG = """\b
virc batch rows.csv --to answers.csv
virc batch rows.jsonl --endpoint http://localhost:8000/v1 | jq -r .answer
virc batch 'charts/*.png' 'What is the title?' --to titles.csv
"""


def explain_usage(args: Sequence[str], error: UsageError) -> UsageError | None:
    if error.message == "no such option '--json'":
        return UsageError("a batch prints JSON anyway, a line for each row", "leave --json out")
    return None


@asking(BatchOptions, **OF_SOLVING)
@collection_paused()  # until the first row begins
def command(
    asked: Asked,
    words: Annotated[
        list[str] | None, argument("SOURCE... [QUESTION]", "Rows, or pictures that one question is about; - for stdin.")
    ] = None,
    to: Annotated[str | None, option("FILE", "Write here, as .jsonl, .csv or .tsv; a rerun resumes.")] = None,
    verbose: Annotated[bool, flag("--verbose", "Print answers and what engines write.", "-v")] = False,
) -> None:
    """Answer many questions about pictures.

    SOURCE is a file of rows: JSON lines, JSON, CSV, TSV or Parquet. A row has an image or images, a question and an id;
    their columns may have other usual names, such as image_path and prompt. Paths of images start from the file. Rows
    in other layouts that virc data reads, such as COCO, WebDataset or conversations, are read as they are.

    Or SOURCE is pictures, folders and patterns of pictures, and QUESTION is asked of each.

    Without --to, JSON lines are printed on stdout. The same command continues where it stopped, even after kill -9.
    """
    from virc.core.limits.image_memory import share_arena
    from virc.solving import api
    from virc.solving.answer_file import check_files
    from virc.solving.solver import choose
    from virc.solving.sources.columns import parse_chosen
    from virc.solving.sources.row_files import open_rows
    from virc_cli.commands import solve
    from virc_cli.console.sources import split_words

    sources, question = split_words(words or [])
    check_files(sources, to)
    if asked.max_cost is not None and choose(asked.pipeline, asked.system)[0] is not None:
        raise UsageError("--max-cost does not go with --pipeline", "leave --max-cost out")
    setup, columns = asked.set_up(), parse_chosen(asked.column or ())
    share_arena()
    with (
        events.printed(asked.quiet, verbose) as report,
        open_rows(sources, question, columns, report, asked.trust_rows, asked.ignore or ()) as rows,
    ):
        api.solve_file(setup, rows, to, asked.concurrency, solve.FAILURE, report, output.line, asked.max_cost)
