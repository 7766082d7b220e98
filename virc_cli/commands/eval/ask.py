"""`virc eval ask`, which `virc eval` is without a subcommand."""

from typing import Annotated, Literal

from virc.core.errors import UsageError
from virc_cli.console import completion, events, options, output
from virc_cli.console.asking import Asking, asking
from virc_cli.console.options import argument, choice, flag, option

FAILURE: dict[str, object] = dict.fromkeys(
    "folder benchmark problems models pairs commonest crop_ablation against assumed seeds contamination looks".split()
)


@asking
def command(
    asked: Asking,
    benchmark: Annotated[
        str, argument("BENCHMARK|FILE", "A benchmark, or rows with answers.", autocompletion=completion.benchmarks)
    ],
    model: Annotated[list[str] | None, option("MODEL[@URL]", "Model, or one that URL serves; repeatable.")] = None,
    to: Annotated[str | None, option("DIR", "Write here; default evals/BENCHMARK[-ABLATION].")] = None,
    limit: Annotated[int | None, option("N", "Ask only the first N problems.", min=1)] = None,
    split: Annotated[str | None, option("NAME", "Part of the benchmark.")] = None,
    column: options.ProblemColumns = None,
    judge_endpoint: options.JudgeOfReward = None,
    judge_model: options.JudgeModel = None,
    traces: Annotated[Literal["wrong", "all", "none"], choice("Keep the traces of these answers.")] = "wrong",
    crop_ablation: Annotated[
        Literal["none", "blank", "counterfactual"],
        choice("Cut crops from blank paper or from the counterfactual.", "--crop-ablation"),
    ] = "none",
    looks: Annotated[bool, flag("--looks", "Test whether the model looks and its crops matter.")] = False,
    against_run: Annotated[
        str | None, option("RUN|ROWS", "Count problems whose picture was trained on.", "--against-run")
    ] = None,
    sign: Annotated[str | None, option("KEY", "Sign results with this key of ssh-keygen or minisign.")] = None,
    seeds: Annotated[int, option("N", "Ask with N seeds, and give the spread.", min=1, max=1000)] = 1,
    against: Annotated[Literal["paper"] | None, choice("Compare with the published figures.")] = None,
    samples: Annotated[int, option("N", "Answers per problem; the commonest counts.", min=1, max=1000)] = 1,
    strategy: options.Strategies = None,
    temperature: options.Temperature = None,
    page: options.Page = None,
    fps: options.Fps = None,
    frames: options.Frames = None,
    trust_rows: options.TrustRows = False,
    concurrency: options.Concurrency = None,
    prices: options.Prices = None,
    max_cost: options.MaxCost = None,
    pipeline: options.Pipeline = None,
    role: options.Role = None,
    environment: Annotated[bool, flag("--environment", "BENCHMARK is an installed environment of verifiers.")] = False,
    environment_args: Annotated[
        str | None, option("JSON", "Arguments of the environment.", "--environment-args")
    ] = None,
    answer_as: Annotated[
        str | None, option("TEXT", "Reply shown to an environment, of {answer} and {reply}.", "--answer-as")
    ] = None,
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
    from virc.evaluation.request import EvalRequest, asked_columns, check_named_judges, model_at, pipeline_of
    from virc.reasoning.media import media_choice
    from virc.solving.one import SolveConfig
    from virc.solving.setup import set_up
    from virc.solving.solver import choose
    from virc.solving.sources.columns import OF_PROBLEMS, parse_chosen

    pipeline, system = choose(pipeline, asked.system)
    flags = {**asked.flags, "system": system}
    if dry_run and not looks:
        raise UsageError("--dry-run is for --looks", "add --looks")
    strategies: list[str | None] = [*dict.fromkeys(strategy)] if strategy else [None]
    configs = [
        SolveConfig(
            temperature=temperature,
            seed=seed,
            samples=samples,
            max_turns=asked.max_turns,
            crop_ablation=crop_ablation,
            strategy=each,
            media=media_choice(page, None, fps, frames),
        )
        for seed in range(asked.seed, asked.seed + seeds)
        for each in strategies
    ]
    roles = options.named_roles(pipeline, role or (), {})
    judge, judges = options.named_endpoints(judge_endpoint or ())
    check_named_judges(judges, strategy)
    names: list[str | None] = [*dict.fromkeys(model)] if model else [None]
    graders = options.graders(strategy, judge, judge_model, judges, system)
    setups = []
    for given in names:
        name, url = model_at(given, asked.endpoint)
        chosen = {**flags, "model": name, "endpoint": url}
        for config in configs:
            setup = set_up(chosen, config, asked.protocol, None, asked.offline, (), graders, prices)
            setups.append(msgspec.structs.replace(setup, or_here=given == name))
    written = {
        (each.choice.model, each.choice.endpoint, each.config.strategy, each.config.seed): each
        for each in reversed(setups)
    }
    setups = [*reversed(written.values())]  # `majority` and `majority:n=8` are one
    pipeline_default = {"model": names[0], "endpoint": asked.endpoint}
    unread = {"looks": looks, "against": against is not None, "max_cost": max_cost is not None}
    solver = pipeline_of(pipeline, roles, setups, unread, pipeline_default)
    studies = {"against": against is not None, "against_run": against_run, "sign": sign, "looks": looks}
    columns = asked_columns(environment, environment_args, answer_as, **studies)
    chosen = parse_chosen(column or (), OF_PROBLEMS)
    request = EvalRequest(
        benchmark=benchmark, setups=setups, to=to, limit=limit, split=split, chosen=chosen, judge_endpoint=judge,
        judge_model=judge_model, traces=traces, at_once=concurrency, solver=solver, columns=columns,
        trust_rows=trust_rows, max_cost=max_cost, estimate_only=dry_run,
    )  # fmt: skip
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
