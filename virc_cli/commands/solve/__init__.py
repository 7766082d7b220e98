"""`virc solve`: a picture and a question in, an answer out."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from virc_cli.console import options

if TYPE_CHECKING:
    from virc.core.errors import UsageError

FAILURE: dict[str, object] = dict.fromkeys(
    "answer model protocol family coordinates protocol_from loaded device turns calls tokens settings trace".split()
)


def explain_usage(args: Sequence[str], error: "UsageError") -> "UsageError | None":
    """A better error for what the shell usually makes of a question."""
    from virc_cli.commands.solve import hints

    return hints.explain(args, error, hints.flags_of(command))


def command(
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
    model: options.Model = None,
    endpoint: options.Endpoint = None,
    system: options.System = None,
    protocol: options.Protocol = None,
    tools: options.Tools = None,
    as_json: options.Json = False,
    trace: Annotated[
        str | None, typer.Option(metavar="DIR", help="Write conversation, images and a page here.")
    ] = None,
    samples: Annotated[int, typer.Option(min=1, max=1000, metavar="N", help="Answers; the commonest is given.")] = 1,
    strategies: options.Strategy = None,
    judge_endpoint: options.JudgeEndpoint = None,
    judge_model: options.JudgeModel = None,
    family: options.Family = None,
    max_pixels: options.MaxPixels = None,
    max_tokens: options.MaxTokens = None,
    max_turns: options.MaxTurns = 16,
    timeout: options.Timeout = None,
    temperature: options.Temperature = None,
    seed: options.Seed = 0,
    device: options.Device = None,
    offline: options.Offline = False,
    pipeline: options.Pipeline = None,
    role: options.Role = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="With --pipeline: print requests; ask nobody.")] = False,
    batch: Annotated[
        str | None, typer.Option(metavar="FILE", help="Solve the rows of a JSONL file; - for stdin.")
    ] = None,
    to: Annotated[str | None, typer.Option(metavar="FILE", help="Write batch answers here; a rerun resumes.")] = None,
    concurrency: options.Concurrency = None,
    quiet: options.Quiet = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Print tokens, rejected replies and batch answers, too.")
    ] = False,
) -> None:
    """Answer a question about a picture.

    IMAGE may be left out where the system has a tool that finds pictures.

    The answer alone is printed on stdout; thoughts and tool calls are printed on stderr.

    A strategy may have answers graded: by a judge at --judge-endpoint, whose key is VIRC_JUDGE_KEY, or by a reward.

    A batch row has id, image or images, and question. The picture is sent to no one but the endpoints that you name.
    """
    from virc.core.errors import UsageError
    from virc.core.events import Reporter
    from virc.solving.one import SolveConfig
    from virc.solving.pipelines import solve as pipelines
    from virc.solving.setup import finds_pictures, set_up
    from virc.solving.strategies.registry import grades
    from virc_cli.commands.solve import hints, run
    from virc_cli.console import events

    strategy = options.one_strategy(strategies)
    pipeline, system = options.chosen_pipeline(pipeline, system)
    flags = {
        "model": model,
        "endpoint": endpoint,
        "system": system,
        "device": device,
        "max_pixels": max_pixels,
        "max_tokens": max_tokens,
        "family": family,
        "timeout": timeout,
    }
    config = SolveConfig(temperature=temperature, seed=seed, samples=samples, max_turns=max_turns, strategy=strategy)

    def finds() -> bool:
        return pipeline is None and finds_pictures(set_up(flags, SolveConfig(), protocol, trace, offline).choice)

    if batch is not None:
        hints.check_batch(image, question, question_file, more_images, as_json)
    else:
        image, question = hints.question_alone(image, question, question_file, finds)
        hints.check_one(image, question, to, concurrency, finds)
    refused = {
        "--samples": samples != 1,
        "--strategy": strategy is not None,
        "--temperature": temperature is not None,
        "--max-tokens": max_tokens is not None,
    }
    given = options.named_roles(pipeline, role or (), refused)
    if dry_run:
        hints.check_dry_run(pipeline, batch, as_json)
    judge, judges = options.named_endpoints(judge_endpoint or ())
    if judge_endpoint and not strategy:
        raise UsageError("--judge-endpoint belongs to --strategy", "--strategy best_of --judge-endpoint URL")
    graders = options.graders(strategy, judge, judge_model, judges, system)
    setup = set_up(flags, config, protocol, trace, offline, options.names_of(tools), graders)
    if judge_endpoint and not grades(setup.config, graders):
        raise UsageError(f"the strategy {strategy} asks no judge", "leave --judge-endpoint out, or --strategy best_of")
    with events.printed(quiet, verbose) as on_event:
        report = Reporter(on_event)
        chosen = pipelines.set_up(pipeline, given, setup) if pipeline is not None else None
        if chosen:
            options.check_default_role(chosen, {"--model": model, "--endpoint": endpoint})
        if batch is not None:
            run.batch(chosen or setup, batch, to, concurrency, FAILURE, report)
            return
        sources = [*([] if image is None else [image]), *(more_images or [])]
        text = hints.read_question(question, question_file, sources, report)
        if chosen:
            run.by_pipeline(chosen, sources, text, dry_run, as_json, FAILURE, report, quiet)
            return
        run.one(setup, sources, text, as_json, FAILURE, report, quiet, verbose)
