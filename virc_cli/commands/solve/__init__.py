"""`virc solve`: a picture and a question in, an answer out."""

from collections.abc import Sequence
from typing import Annotated

from virc.config.options import SolveOptions
from virc.core.errors import UsageError
from virc_cli.console import events, options, output
from virc_cli.console.asking import OF_SOLVING, Asked, asking
from virc_cli.console.options import argument, flag, option

FAILURE: dict[str, object] = dict.fromkeys(
    (
        *"answer model protocol family coordinates protocol_from loaded device".split(),
        *"turns calls tokens settings trace warnings pictures".split(),
    )
)
EPILOG = """\b
virc solve figure.png 'What is x?'
virc solve figure.png 'What is x?' --endpoint http://localhost:8000/v1 --trace out
virc solve figure.png 'What is x?' --samples 8 --json
virc solve clip.mp4 'What falls?' --at 1:02,1:04
virc solve report.pdf 'What was the profit?' --page 2-5
virc solve --continue 'And y?'
For many questions: virc batch --help
"""


def explain_usage(args: Sequence[str], error: UsageError) -> UsageError | None:
    from virc_cli import slips

    return slips.explain_solve(args, error)


@asking(SolveOptions, **OF_SOLVING)
def command(
    asked: Asked,
    image: Annotated[str | None, argument("IMAGE", "Picture, clip or PDF: path, URL, or - for stdin.")] = None,
    question: Annotated[str | None, argument("QUESTION", "In single quotes.")] = None,
    more_images: Annotated[list[str] | None, option("FILE", "One more picture; repeatable.", "--image")] = None,
    question_file: Annotated[str | None, option("FILE", "Read the question from a file; - for stdin.")] = None,
    further: Annotated[bool, flag("--continue", "Ask on after an answer: IMAGE is its trace, or left out.")] = False,
    as_json: options.Json = False,
    dry_run: Annotated[bool, flag("--dry-run", "Print what is shown, of a pipeline its requests; ask nobody.")] = False,
    verbose: Annotated[bool, flag("--verbose", "Print tokens and rejected replies, too.", "-v")] = False,
) -> None:
    """Answer a question about a picture, a clip or a document.

    IMAGE may be left out if the system has a tool that finds pictures.

    The answer alone is printed on stdout; thoughts and tool calls are printed on stderr.

    A strategy may have answers graded: by a judge at --judge-endpoint, whose key is VIRC_JUDGE_KEY, or by a reward.

    The picture is sent to no one but the endpoints that you name.
    """
    from virc.solving.image_source import Unfolded
    from virc.solving.one import SCHEMA
    from virc.solving.setup import Setup
    from virc.solving.traces import continuing
    from virc_cli.commands.solve import hints, run

    more, trace, former = more_images or [], None, None
    if further:
        looks = {f"--{name}": getattr(asked, name) for name in ("page", "at", "fps", "frames")}
        refused = {**looks, "--strategy": asked.strategy, "--pipeline": asked.pipeline, "--dry-run": dry_run}
        options.refuse(refused, "{} does not go with --continue", "leave {} out")
        (trace, question), image = hints.trace_and_question(image, question, bool(question_file)), None
    else:
        image, question = hints.image_and_question(image, question, bool(question_file), asked.finds_pictures, more)
    if dry_run and as_json:
        raise UsageError("--dry-run prints what is sent as text", "leave --json out")
    setup = asked.set_up()
    if further and not isinstance(setup, Setup):
        raise UsageError("a pipeline has no conversation to continue", "leave --system or --continue out")
    with events.printed(asked.quiet, verbose) as report:
        sources = [*([] if image is None else [image]), *more]
        text = hints.read_question(question, question_file, sources, report)
        if dry_run and not isinstance(setup, Setup):
            output.lines(setup.planned(text, len(sources)))
            return
        if further:
            former = continuing.read_conversation(trace, trusted=trace is None or bool(more))
            sources = continuing.names_of(former, more)
            report.note(continuing.in_words(former))

        def on_pictures(pictures: Sequence[Unfolded]) -> bool:
            if dry_run:
                output.lines(
                    f"{each.place.source}: {each.place.line}" if each.place else each.file[1] for each in pictures
                )
            return not dry_run

        solution = run.solved(setup, sources, text, report, asked.quiet, verbose, former, on_pictures)
        if dry_run:
            return
        if solution.answer is not None and not as_json:
            output.line(run.one_line(solution.answer))
        run.note_trace_and_cost(solution, report)
        if solution.conversation:
            continuing.keep_last(solution.conversation)
        if solution.error:
            raise solution.error
        if as_json:
            output.emit(SCHEMA, {**FAILURE, **solution.fields})
