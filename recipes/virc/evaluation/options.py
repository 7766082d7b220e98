"""Options of an evaluation, without imports that take time."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from virc.core.declared import Option
from virc.solving.options import ProblemOptions

Traces = Literal["wrong", "all", "none"]
"""Which answers keep their trace."""


class EvalOptions(ProblemOptions, total=False):
    """Options of `virc eval` and `virc.evaluate`."""

    to: Annotated[str | Path | None, Option("DIR", "Write here; default evals/BENCHMARK[-ABLATION].")]
    limit: Annotated[int | None, Option("N", "Ask only the first N problems.", min=1)]
    split: Annotated[str | None, Option("NAME", "Part of the benchmark.")]
    columns: Annotated[
        Mapping[str, str],
        Option(
            "FIELD=NAME", "Column of id, image, question, choices, answer; repeatable.", "Of a file of rows.",
            default={}, name="column", is_repeated=True,
        ),
    ]  # fmt: skip
    judge_endpoint: Annotated[
        str | None,
        Option(
            "[NAME=]URL", "Server of a judge; NAME is of reward.judges.",
            "Asked about answers that no rule finds right; its key is `VIRC_JUDGE_KEY`.", is_repeated=True,
        ),
    ]  # fmt: skip
    judge_model: Annotated[str | None, Option("NAME", "Model of the judge; default: the only one.")]
    judge_endpoints: Annotated[
        Mapping[str, str],
        Option(
            more="Of further judges of the reward by which a strategy grades, by the names that it has for them.",
            default={}, name="judge_endpoint",
        ),
    ]  # fmt: skip
    traces: Annotated[Traces, Option(help="Keep the traces of these answers.", default="wrong")]
    crop_ablation: Annotated[
        Literal["none", "blank", "counterfactual"],
        Option(help="Cut crops from blank paper or from the counterfactual.", default="none"),
    ]
    looks: Annotated[bool, Option(help="Test whether the model looks and its crops matter.", default=False)]
    against_run: Annotated[
        str | Path | None,
        Option("RUN|ROWS", "Count problems whose picture was trained on.", "A run, or a file of rows."),
    ]
    sign: Annotated[str | Path | None, Option("KEY", "Sign results with this key of ssh-keygen or minisign.")]
    seeds: Annotated[
        int, Option("N", "Ask with N seeds, and give the spread.", "From `seed` on.", default=1, min=1, max=1000)
    ]
    samples: Annotated[int, Option("N", "Answers per problem; the commonest counts.", default=1, min=1, max=1000)]
    strategy: Annotated[
        str | Sequence[str] | None,
        Option(
            "NAME[:K=V,...]", "How the answer is found, such as majority:n=8; repeatable.",
            "Of several, each model is evaluated by each.", is_repeated=True,
        ),
    ]  # fmt: skip
    trust_rows: Annotated[bool, Option(help="Rows may name any file, and private addresses.", default=False)]
    concurrency: Annotated[int | None, Option("N", "Rows at a time; default: by the kind of server.", min=1, max=1024)]
    max_cost: Annotated[
        float | None, Option("AMOUNT", "Stop once rows cost that much, without judges of answers.", min=0)
    ]
    environment: Annotated[bool, Option(help="BENCHMARK is an installed environment of verifiers.", default=False)]
    environment_args: Annotated[Mapping[str, Any] | None, Option("JSON", "Arguments of the environment.")]
    answer_as: Annotated[
        str | None,
        Option(
            "TEXT", "Reply shown to an environment, of {answer} and {reply}.", "None: the reply and a boxed answer."
        ),
    ]
