"""`virc eval ask`, which `virc eval` is without a subcommand."""

from itertools import product
from typing import Annotated, Literal

from virc.config.options import EvalOptions
from virc.core.errors import UsageError
from virc_cli.console import completion, events, options, output
from virc_cli.console.asking import Asked, asking
from virc_cli.console.options import argument, choice, flag, option

FAILURE: dict[str, object] = dict.fromkeys(
    "folder benchmark problems models pairs commonest crop_ablation against assumed seeds contamination looks".split()
)


@asking(EvalOptions)
def command(
    asked: Asked,
    benchmark: Annotated[
        str, argument("BENCHMARK|FILE", "A benchmark, or rows with answers.", autocompletion=completion.benchmarks)
    ],
    model: Annotated[list[str] | None, option("MODEL[@URL]", "Model, or one that URL serves; repeatable.")] = None,
    against: Annotated[Literal["paper"] | None, choice("Compare with the published figures.")] = None,
    dry_run: Annotated[bool, flag("--dry-run", "Print the cost of --looks.")] = False,
    as_json: options.Json = False,
    verbose: Annotated[bool, flag("--verbose", "Print each answer, too.", "-v")] = False,
) -> None:
    """Ask models a benchmark, and score and compare them.

    Every model with answers to the same problems in the folder is in the table and in report.html there, where each
    wrong answer opens as a trace. The same command resumes after a stop. A model with a --strategy is a row of its own.

    A model that the endpoint does not list is looked for on this machine.

    Rows of a FILE are those of a batch, with an answer each; `unreadable` is to be refused.

    With --environment, answers are scored by the reward of an environment of verifiers, which is shown the last reply.

    The key of a judge is VIRC_JUDGE_KEY; of one called NAME, VIRC_JUDGE_KEY_NAME.

    With --looks, problems are asked as they are, without tools, with a blank picture, with crops of another problem,
    with blurred crops, and with another seed; the verdict comes first.

    `virc data synth --counterfactuals` draws problems for --crop-ablation counterfactual.

    The folder's results/MODEL.jsonl has all that the figures are computed from, and results/MODEL.looks the other arms
    of --looks: `virc eval verify FILE` scores them again without the model, `virc eval card FILE...` makes a table.
    """
    import msgspec

    from virc.evaluation import api as evaluation
    from virc.evaluation.request import check_named_judges, model_at, request_of
    from virc.solving.setup import set_up
    from virc.solving.solver import choose
    from virc.solving.sources.columns import OF_PROBLEMS, parse_chosen

    pipeline, system = choose(asked.pipeline, asked.system)
    flags = {**asked.flags, "system": system}
    if dry_run and not asked.looks:
        raise UsageError("--dry-run is for --looks", "add --looks")
    strategies: list[str | None] = [*dict.fromkeys(asked.strategy)] if asked.strategy else [None]
    seeds = range(asked.seed, asked.seed + asked.seeds)
    roles = options.named_roles(pipeline, asked.role or (), {})
    judge, judges = options.named_endpoints(asked.judge_endpoint or ())
    check_named_judges(judges, asked.strategy)
    names: list[str | None] = [*dict.fromkeys(model)] if model else [None]
    graders = options.graders(asked.strategy, judge, asked.judge_model, judges, system)
    setups = []
    for given, seed, strategy in product(names, seeds, strategies):
        name, url = model_at(given, asked.endpoint)
        setup = set_up({**flags, "model": name, "endpoint": url, "seed": seed, "strategy": strategy}, graders)
        setups.append(msgspec.structs.replace(setup, or_here=given == name))
    written = {
        (each.choice.model, each.choice.endpoint, each.config.strategy, each.config.seed): each
        for each in reversed(setups)
    }
    setups = [*reversed(written.values())]  # `majority` and `majority:n=8` are one
    columns = parse_chosen(asked.column or (), OF_PROBLEMS)
    values = {**flags, "judge_endpoint": judge, "against": against is not None, "columns": columns}
    request = request_of(benchmark, values, setups, pipeline, roles, {"model": names[0], "endpoint": asked.endpoint})
    request = msgspec.structs.replace(request, estimate_only=dry_run)
    with events.printed(asked.quiet, verbose) as report:
        evaluated = evaluation.run(request, report, lambda fields: output.know(**fields))
        output.know(**evaluated.fields)
        if not as_json:
            from virc_cli.console.evaluated import lines

            output.lines(lines(evaluated.summary, evaluated.columns))
            report.note(f"each problem and answer: {evaluated.folder.report}")
            report.note(f"to hand on and to verify: {evaluated.folder.folder / 'results'}")
    evaluated.check()
    if as_json:
        output.emit("virc.eval/1", evaluated.fields)
