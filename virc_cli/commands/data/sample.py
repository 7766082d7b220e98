"""`virc data sample`: own figures with answers become trajectories to train on."""

from typing import TYPE_CHECKING, Annotated

from virc.config.options import AskOptions
from virc.core.errors import UsageError
from virc.data.sample.rules import PairRule
from virc_cli.console import completion, events, options, output
from virc_cli.console.asking import Asked, asking
from virc_cli.console.options import argument, choice, option

if TYPE_CHECKING:
    from virc.data.sample.pairing import PairsAsked

FAILURE: dict[str, object] = dict.fromkeys(
    (
        *("to", "model", "protocol", "device", "settings", "problems", "rollouts", "right", "pass_rate", "kept"),
        *("without", "fewer", "failed", "dropped", "unpaired", "left_out"),
    )
)


@asking(AskOptions, model=options.Model)
def command(
    asked: Asked,
    file: Annotated[str, argument("FILE", "Rows with answers, as of virc batch; - for stdin.")],
    to: Annotated[str, option("DIR|FILE.jsonl", "Write the rows here; a rerun resumes.")],
    n: Annotated[int, option("N", "Rollouts of each problem.", "--samples", min=1, max=1000)] = 8,
    keep: Annotated[int, option("N", "Most rows kept of each problem.", min=1, max=1000)] = 2,
    pairs: Annotated[PairRule | None, choice("Keep pairs of replies instead, by this rule.")] = None,
    margin: Annotated[float, option("M", "Least margin of a pair.", min=0)] = 0.0,
    reward: Annotated[
        str | None, option("SYSTEM", "Whose reward --pairs reward takes.", autocompletion=completion.systems)
    ] = None,
    judge_endpoint: Annotated[list[str] | None, option("[NAME=]URL", "Server of the judge or critic of pairs.")] = None,
    judge_model: options.JudgeModel = None,
    tools: options.Tools = None,
    as_json: options.Json = False,
    temperature: Annotated[float, option("T", "Of every reply; 0 is greedy.")] = 1.0,
    trust_rows: options.TrustRows = False,
    concurrency: options.Concurrency = None,
    verbose: options.Verbose = False,
) -> None:
    """Sample right solutions, or pairs of replies, to train on.

    A solution is kept if every turn of it is exact and its answer is the row's, by rule. The same command resumes after
    a stop.

    --pairs keeps replies to the same turns: right (right and not), reward (by --reward), grade (by a critic at
    --judge-endpoint). A judge at --judge-endpoint decides if no rule finds an answer right.
    """
    from virc.data.sample.run import sample_file
    from virc.solving.setup import set_up

    setup = set_up({**asked.flags, "temperature": temperature, "samples": n, "tools": options.names_of(tools)})
    with events.printed(asked.quiet, verbose) as report:
        wanted = _pairs(pairs, margin, reward, judge_endpoint or [], judge_model)
        fields = sample_file(
            setup, file, to, keep, concurrency, report, lambda known: output.know(**known), wanted, trust_rows
        )
    output.result(as_json, "virc.data.sample/1", {**FAILURE, **fields}, [fields["to"]])


def _pairs(
    rule: PairRule | None, margin: float, reward: str | None,
    endpoints: list[str], judge_model: str | None,
) -> "PairsAsked | None":  # fmt: skip
    """The pairs that are asked for; None where trajectories are."""
    from virc.data.sample.pairing import PairsAsked
    from virc.rewards.rollout_scorer import maker_of

    if rule is None:
        unused = {"--margin": margin, "--reward": reward, "--judge-endpoint": endpoints, "--judge-model": judge_model}
        if given := next((name for name, value in unused.items() if value), None):
            raise UsageError(f"{given} is for pairs", "--pairs right")
        return None
    judge, others = options.named_endpoints(endpoints)
    grader = maker_of(reward, judge, judge_model, others) if rule == "reward" and reward else None
    if others and grader is None:
        raise UsageError(f"--judge-endpoint {next(iter(others))}=URL names a judge of a reward", "--pairs reward")
    return PairsAsked(rule, margin, judge, judge_model, reward, grader)
