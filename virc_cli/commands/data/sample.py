"""`virc data sample`: own figures with answers become trajectories to train on."""

from typing import Annotated

import typer

from virc_cli.console import options

FAILURE: dict[str, object] = dict.fromkeys(
    "to model protocol device settings problems rollouts right pass_rate kept without fewer failed dropped".split()
)


def command(
    file: Annotated[str, typer.Argument(metavar="FILE", help="JSONL rows of problems with answers; - for stdin.")],
    to: Annotated[str, typer.Option(metavar="DIR|FILE.jsonl", help="Write trajectories here; a rerun resumes.")],
    n: Annotated[int, typer.Option("--samples", min=1, max=1000, metavar="N", help="Rollouts of each problem.")] = 8,
    keep: Annotated[
        int, typer.Option(min=1, max=1000, metavar="N", help="Most trajectories kept of each problem.")
    ] = 2,
    model: options.Model = None,
    endpoint: options.Endpoint = None,
    system: options.System = None,
    protocol: options.Protocol = None,
    tools: options.Tools = None,
    as_json: options.Json = False,
    family: options.Family = None,
    max_pixels: options.MaxPixels = None,
    max_tokens: options.MaxTokens = None,
    max_turns: options.MaxTurns = 16,
    timeout: options.Timeout = None,
    temperature: Annotated[float, typer.Option(metavar="T", help="Of every reply; 0 is greedy.")] = 1.0,
    seed: options.Seed = 0,
    device: options.Device = None,
    offline: options.Offline = False,
    concurrency: options.Concurrency = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Sample solutions, and keep the right ones to train on.

    A solution is kept if every turn of it is exact and its answer is the row's, by rule. The same command resumes after
    a stop.
    """
    from virc.core.events import Reporter
    from virc.data.sample.run import sample_file
    from virc.solving.one import SolveConfig
    from virc.solving.setup import set_up
    from virc_cli.console import events, output

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
    config = SolveConfig(temperature=temperature, seed=seed, samples=n, max_turns=max_turns)
    setup = set_up(flags, config, protocol, None, offline, options.names_of(tools))
    with events.printed(quiet, verbose) as on_event:
        report = Reporter(on_event)
        fields = sample_file(setup, file, to, keep, concurrency, report, lambda known: output.know(**known))
    if as_json:
        output.emit({"schema": "virc.data.sample/1", **FAILURE, **fields, "error": None})
    else:
        output.line(fields["to"])
