"""`virc data sample`: own figures with answers become trajectories to train on."""

from typing import Annotated

import typer

from virc_cli.console import options

FAILURE: dict[str, object] = {
    "to": None,
    "model": None,
    "protocol": None,
    "device": None,
    "settings": None,
    "problems": None,
    "rollouts": None,
    "right": None,
    "pass_rate": None,
    "kept": None,
    "without": None,
    "failed": None,
}


def command(
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE", help="JSONL rows: id, image or images, question, answer; - for stdin."
        ),
    ],
    to: Annotated[
        str,
        typer.Option(
            metavar="DIR|FILE.jsonl", help="Where trajectories go; taken up again where it stopped."
        ),
    ],
    n: Annotated[
        int, typer.Option("--samples", min=1, max=1000, metavar="N", help="Rollouts of a problem.")
    ] = 8,
    keep: Annotated[
        int, typer.Option(min=1, max=1000, metavar="N", help="Most trajectories kept of a problem.")
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
    temperature: Annotated[float, typer.Option(metavar="T", help="Of every reply.")] = 1.0,
    seed: options.Seed = 0,
    device: options.Device = None,
    offline: options.Offline = False,
    concurrency: options.Concurrency = None,
) -> None:
    """Let a model solve each problem several times, and keep the solutions whose answer is right to train on.

    A solution is kept if every turn of it is exact and its answer is the row's, by rule. What there is after a
    stop is taken up by the same command.
    """
    from virc.solving.one import SolveConfig
    from virc_cli.solving import sampling, setup

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
    chosen = setup.set_up(flags, config, protocol, None, offline, options.names_of(tools))
    sampling.run(chosen, file, to, keep, concurrency, as_json, FAILURE)
