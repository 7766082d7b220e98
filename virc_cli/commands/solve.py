"""`virc solve`: a picture and a question in, an answer out."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from virc_cli.console import options

if TYPE_CHECKING:
    from virc.core.errors import UsageError

FAILURE: dict[str, object] = {
    "answer": None,
    "model": None,
    "protocol": None,
    "family": None,
    "coordinates": None,
    "protocol_from": None,
    "device": None,
    "turns": None,
    "calls": None,
    "tokens": None,
    "settings": None,
    "trace": None,
}


def explain_usage(args: Sequence[str], error: "UsageError") -> "UsageError | None":
    """A better error for what the shell usually makes of a question."""
    from virc_cli.solving import hints

    return hints.explain(args, error)


def command(
    image: Annotated[
        str | None,
        typer.Argument(metavar="IMAGE", help="Path, URL, or - for standard input.", show_default=False),
    ] = None,
    question: Annotated[
        str | None, typer.Argument(metavar="QUESTION", help="In single quotes.", show_default=False)
    ] = None,
    more_images: Annotated[
        list[str] | None, typer.Option("--image", metavar="FILE", help="One more picture; may be repeated.")
    ] = None,
    question_file: Annotated[
        str | None, typer.Option(metavar="FILE", help="Read the question from a file, - for standard input.")
    ] = None,
    model: options.Model = None,
    endpoint: options.Endpoint = None,
    system: options.System = None,
    protocol: options.Protocol = None,
    tools: options.Tools = None,
    as_json: options.Json = False,
    trace: Annotated[
        str | None, typer.Option(metavar="DIR", help="Keep conversation, images and a page to look at.")
    ] = None,
    samples: Annotated[
        int, typer.Option(min=1, max=1000, metavar="N", help="Independent answers; the commonest is given.")
    ] = 1,
    family: options.Family = None,
    max_pixels: options.MaxPixels = None,
    max_tokens: options.MaxTokens = None,
    max_turns: options.MaxTurns = 16,
    timeout: options.Timeout = None,
    temperature: options.Temperature = None,
    seed: options.Seed = 0,
    device: options.Device = None,
    offline: options.Offline = False,
    batch: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="JSONL rows: id, image or images, question; - for stdin."),
    ] = None,
    out: Annotated[
        str | None,
        typer.Option("--to", metavar="FILE", help="Answers to a batch; taken up again where it stopped."),
    ] = None,
    concurrency: options.Concurrency = None,
) -> None:
    """Answer a question about a picture: thoughts on stderr, the answer alone on stdout.

    The picture goes nowhere but to the endpoint you name. `--endpoint none` asks no endpoint.
    """
    from virc.solving.one import SolveConfig
    from virc_cli.solving import hints, setup

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
    config = SolveConfig(temperature=temperature, seed=seed, samples=samples, max_turns=max_turns)
    if batch is not None:
        hints.check_batch(image, question, question_file, more_images, as_json)
    else:
        hints.check_one(image, question, out, concurrency)
    chosen = setup.set_up(flags, config, protocol, trace, offline, options.names_of(tools))
    if batch is not None:
        from virc_cli.solving import many

        many.run(chosen, batch, out, concurrency, FAILURE)
    else:
        from virc_cli.solving import one

        sources = [str(image), *(more_images or [])]
        one.run(chosen, sources, one.read_question(question, question_file, sources), as_json, FAILURE)
