"""`virc solve`: a picture and a question in, an answer out."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from virc_cli.console import options
from virc_cli.console.asking import Asked, PanelCommand, asking

if TYPE_CHECKING:
    from virc.core.errors import UsageError

FAILURE: dict[str, object] = dict.fromkeys(
    (
        *"answer model protocol family coordinates protocol_from loaded device".split(),
        *"turns calls tokens settings trace warnings pictures".split(),
    )
)
CLASS = PanelCommand
EPILOG = """\b
virc solve figure.png 'What is x?'
virc solve figure.png 'What is x?' --endpoint http://localhost:8000/v1 --trace out
virc solve figure.png 'What is x?' --samples 8 --json
For many questions: virc batch --help
"""


def explain_usage(args: Sequence[str], error: "UsageError") -> "UsageError | None":
    """A better error for what the shell usually makes of a question."""
    from virc_cli.commands.solve import hints

    return hints.explain(args, error, hints.flags_of(command))


@asking
def command(
    asked: Asked,
    image: Annotated[
        str | None, typer.Argument(metavar="IMAGE", help="Path, URL, or - for standard input.", show_default=False)
    ] = None,
    question: Annotated[
        str | None, typer.Argument(metavar="QUESTION", help="In single quotes.", show_default=False)
    ] = None,
    more_images: Annotated[
        list[str] | None, typer.Option("--image", metavar="FILE", help="One more picture; repeatable.")
    ] = None,
    question_file: Annotated[
        str | None, typer.Option(metavar="FILE", help="Read the question from a file; - for stdin.")
    ] = None,
    page: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Page or frame of the picture's file. Default: the first.")
    ] = None,
    as_json: options.Json = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="With --pipeline: print requests; ask nobody.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Print tokens and rejected replies, too.")] = False,
) -> None:
    """Answer a question about a picture.

    IMAGE may be left out where the system has a tool that finds pictures.

    The answer alone is printed on stdout; thoughts and tool calls are printed on stderr.

    A strategy may have answers graded: by a judge at --judge-endpoint, whose key is VIRC_JUDGE_KEY, or by a reward.

    The picture is sent to no one but the endpoints that you name.
    """
    from virc.solving.one import SCHEMA
    from virc.solving.pipelines.files import choose
    from virc.solving.pipelines.solve import PipelineSetup, planned
    from virc_cli.commands.solve import hints, run
    from virc_cli.console import events, output

    more = more_images or []
    image, question = hints.question_alone(image, question, question_file, asked.finds_pictures, more)
    hints.check_one(image, question, asked.finds_pictures, more)
    if dry_run:
        hints.check_dry_run(choose(asked.pipeline, asked.system)[0], as_json)
    setup = asked.set_up()
    with events.printed(asked.quiet, verbose) as report:
        sources = [*([] if image is None else [image]), *more]
        text = hints.read_question(question, question_file, sources, report)
        if dry_run and isinstance(setup, PipelineSetup):
            output.lines(planned(setup, text, len(sources)))
            return
        solution = run.solved(setup, sources, text, report, asked.quiet, verbose, page)
        if solution.answer is not None and not as_json:
            output.line(run.one_line(solution.answer))
        if solution.error:
            raise solution.error
        if as_json:
            output.emit(SCHEMA, {**FAILURE, **solution.fields})
