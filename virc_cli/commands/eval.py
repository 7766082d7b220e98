"""`virc eval`: how many problems models solve, and which."""

from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from virc_cli.console import options

if TYPE_CHECKING:
    from virc.core.errors import UsageError

FAILURE: dict[str, object] = {
    "folder": None,
    "benchmark": None,
    "problems": None,
    "models": None,
    "pairs": None,
    "commonest": None,
    "crop_ablation": None,
    "against": None,
    "harness": None,
}


class TracesName(StrEnum):
    """Which answers keep their trace."""

    wrong = "wrong"
    all = "all"
    none = "none"


class CropAblationName(StrEnum):
    """What crops are cut from."""

    none = "none"
    blank = "blank"
    counterfactual = "counterfactual"


class AgainstName(StrEnum):
    """What figures are held against."""

    paper = "paper"


def benchmark_names(incomplete: str) -> list[str]:
    """Benchmarks that begin so, for the shell's completion."""
    from virc.evaluation.benchmarks import registry as benchmarks

    return [name for name in benchmarks.names() if name.startswith(incomplete)]


def explain_usage(args: Sequence[str], error: "UsageError") -> "UsageError | None":
    """Name the benchmarks to who names none."""
    from virc.core.errors import UsageError
    from virc.evaluation.benchmarks import registry as benchmarks

    if "BENCHMARK" not in error.message:
        return None
    return UsageError(error.message, f"virc eval {' | '.join(benchmarks.names())} | FILE.jsonl")


def command(
    benchmark: Annotated[
        str,
        typer.Argument(
            metavar="BENCHMARK|FILE.jsonl",
            help="A benchmark by its name, or rows of a batch with an answer each: `unreadable` is to be refused.",
            autocompletion=benchmark_names,
        ),
    ],
    model: Annotated[
        list[str] | None,
        typer.Option(metavar="MODEL", help="May be repeated; with an endpoint, names it serves."),
    ] = None,
    endpoint: options.Endpoint = None,
    system: options.System = None,
    protocol: options.Protocol = None,
    to: Annotated[
        str | None,
        typer.Option(
            metavar="DIR", help="Where answers and report go; default evals/BENCHMARK, or BENCHMARK-ABLATION."
        ),
    ] = None,
    take: Annotated[
        int | None, typer.Option("--limit", min=1, metavar="N", help="Only the first N problems.")
    ] = None,
    split: Annotated[str | None, typer.Option(metavar="NAME", help="Part of the benchmark.")] = None,
    judge_endpoint: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="Server asked about answers no rule finds right; its key: VIRC_JUDGE_KEY."
        ),
    ] = None,
    judge_model: Annotated[
        str | None, typer.Option(metavar="NAME", help="Which model there; default: the only one.")
    ] = None,
    traces: Annotated[TracesName, typer.Option(help="Answers that keep their trace.")] = TracesName.wrong,
    crop_ablation: Annotated[
        CropAblationName,
        typer.Option("--crop-ablation", help="Cut crops from nothing or from the row's counterfactual."),
    ] = CropAblationName.none,
    against: Annotated[
        AgainstName | None, typer.Option(help="Also show the published figures, and what differs.")
    ] = None,
    samples: Annotated[
        int, typer.Option(min=1, max=1000, metavar="N", help="Answers of a problem; the commonest counts.")
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
    concurrency: options.Concurrency = None,
    harness: Annotated[
        bool,
        typer.Option(
            "--harness",
            help="Have lmms-eval ask the endpoint; also a task of its own, in place of BENCHMARK.",
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="With --harness: print its command and files, start nothing.")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Ask models the problems of a benchmark, score their answers, and compare the models.

    Every model that has answered the same problems in the folder stands in the table and in report.html there, where
    each wrong answer opens as a trace. What there is after a stop is taken up by the same command.

    Whether a model really looks shows when its crops show something else: `virc data synth --counterfactuals` draws
    problems for it.
    """
    from virc.core.errors import UsageError
    from virc.solving.one import SolveConfig
    from virc_cli import evaluating, harnessing
    from virc_cli.solving import setup

    if harness:
        harnessing.refuse(
            {
                "--system": system is not None,
                "--protocol": protocol is not None,
                "--judge-endpoint": judge_endpoint is not None,
                "--judge-model": judge_model is not None,
                "--traces": traces is not TracesName.wrong,
                "--crop-ablation": crop_ablation is not CropAblationName.none,
                "--against": against is not None,
                "--samples": samples != 1,
                "--max-pixels": max_pixels is not None,
                "--max-tokens": max_tokens is not None,
                "--family": family is not None,
                "--max-turns": max_turns != 16,
                "--timeout": timeout is not None,
                "--device": device is not None,
            }
        )
    elif dry_run:
        raise UsageError(
            "--dry-run is for --harness", "virc eval FILE.jsonl --endpoint URL --harness --dry-run"
        )

    config = SolveConfig(
        temperature=temperature,
        seed=seed,
        samples=samples,
        max_turns=max_turns,
        crop_ablation=crop_ablation.value,
    )
    flags = {
        "endpoint": endpoint,
        "system": system,
        "device": device,
        "max_pixels": max_pixels,
        "max_tokens": max_tokens,
        "family": family,
        "timeout": timeout,
    }
    names: list[str | None] = [*dict.fromkeys(model)] if model else [None]
    setups = [setup.set_up({**flags, "model": name}, config, protocol, None, offline) for name in names]
    asked = evaluating.Asked(
        benchmark=benchmark,
        setups=setups,
        to=to,
        take=take,
        split=split,
        judge_endpoint=judge_endpoint,
        judge_model=judge_model,
        traces=traces.value,
        against=against is not None,
        at_once=concurrency,
        crop_ablation=crop_ablation.value,
    )
    if harness:
        harnessing.run(asked, dry_run, as_json)
    else:
        evaluating.run(asked, as_json)
