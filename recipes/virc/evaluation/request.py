"""What is evaluated: a benchmark, models, and how answers are scored."""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from virc.config.options import Traces
from virc.config.validation import fields_given
from virc.core.errors import UsageError
from virc.scoring.judge import JUDGE_KEY, Judge
from virc.solving.ablation import CropAblation
from virc.solving.one import SolveConfig
from virc.solving.setup import Setup
from virc.solving.solver import SolverSetup, pipelines
from virc.solving.sources.columns import OF_PROBLEMS, check_chosen


class EvalRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What is evaluated: every setup on one benchmark, all with the same crop ablation.

    Args: as of the options of `evaluate`, and
        solver: what is evaluated in place of the setups, without a crop ablation.
        chosen: of a file of rows, field -> its column.
        columns: what is asked of columns, by the names of their entry points (`virc.evaluation.columns`).
        estimate_only: ask the first problems as they are, and say how long all arms would take.
    """

    benchmark: str
    setups: Sequence[Setup]
    to: str | None = None
    limit: int | None = None
    split: str | None = None
    chosen: Mapping[str, str] = {}
    judge_endpoint: str | None = None
    judge_model: str | None = None
    traces: Traces = "wrong"
    at_once: int | None = None
    solver: SolverSetup | None = None
    columns: Mapping[str, Any] = {}
    trust_rows: bool = False
    max_cost: float | None = None
    estimate_only: bool = False

    @property
    def crop_ablation(self) -> CropAblation:
        return self.setups[0].config.crop_ablation


_SERVED = re.compile(r"(.+?)@(https?://.+)")


def model_at(name: str | None, endpoint: str | None) -> tuple[str | None, str | None]:
    """A model's name and its endpoint: `NAME@URL` names both, and any other name is asked for at `endpoint`."""
    served = _SERVED.fullmatch(name or "")
    return (served[1], served[2]) if served else (name, endpoint)


def check_names(setups: Iterable[Setup]) -> None:
    """Raises UsageError: a model is named with two endpoints, and its answers have one place in the folder."""
    places = dict[str | None, str | None]()
    for choice in (setup.choice for setup in setups):
        if places.setdefault(choice.model, choice.endpoint) != choice.endpoint:
            sentence = f"{choice.model} is named with two endpoints, and a folder holds its answers once"
            raise UsageError(sentence, "evaluate one of them with another «--to», or serve it by another name")


def asked_columns(options: Mapping[str, Any]) -> dict[str, object]:
    """What the options of an evaluation ask of columns."""
    arguments, shown = options["environment_args"], options["answer_as"]
    if not options["environment"] and (arguments or shown):
        given = "«--environment-args»" if arguments else "«--answer-as»"
        raise UsageError(f"{given} is for «--environment»", "virc eval PACKAGE --environment")
    if not isinstance(arguments, str | None):
        arguments = msgspec.json.encode(arguments).decode()
    paths = {name: str(options[name]) for name in ("against_run", "sign") if options[name]}
    columns = {name: True for name in ("against", "looks") if options[name]} | paths
    return columns | ({"environment": {"arguments": arguments, "shown": shown}} if options["environment"] else {})


def request_of(
    benchmark: str | Path,
    options: Mapping[str, Any],
    setups: Sequence[Setup],
    pipeline: str | None,
    roles: Mapping[str, str],
    default: Mapping[str, object],
) -> EvalRequest:
    """The request for the options of `evaluate`; `default` is as of `SolverKind.set_up`."""
    renamed = {
        "benchmark": str(benchmark),
        "setups": setups,
        "to": options["to"] and str(options["to"]),
        "at_once": options["concurrency"],
        "columns": asked_columns(options),
        "solver": _pipeline(pipeline, options, setups, roles, default),
        "chosen": check_chosen(options["columns"], OF_PROBLEMS),
    }
    return EvalRequest(**fields_given(EvalRequest, options) | renamed)


def check_request(request: EvalRequest) -> None:
    check_names(request.setups)
    if request.judge_model and not request.judge_endpoint:
        raise UsageError("«--judge-model» names a model of a judge's endpoint", "«--judge-endpoint URL»")


def _pipeline(
    name: str | None, options: Mapping[str, Any], setups: Sequence[Setup], roles: Mapping[str, str],
    default: Mapping[str, object],
) -> SolverSetup | None:  # fmt: skip
    """The pipeline that is evaluated in place of the setups. Raises UsageError: a setting means nothing to it."""
    if name is None:
        return None
    config, usual = setups[0].config, SolveConfig()
    of_solving = ("strategy", "samples", "temperature", "min_p", "max_tokens", "crop_ablation")
    refused = {
        "«--model» twice": len({setup.choice.model for setup in setups}) > 1,
        "seeds": len({setup.config.seed for setup in setups}) > 1,
        **{each: getattr(config, each) != getattr(usual, each) for each in of_solving},
        "prices": setups[0].prices,
        **{each: options[each] not in (False, None) for each in ("looks", "against", "max_cost")},
    }
    pipelines().refuse(refused)
    return pipelines().set_up(name, roles, setups[0], default)


def check_named_judges(judges: Mapping[str, str], strategy: object) -> None:
    """Refuse judges of a reward, by their names, where no strategy may grade by one."""
    if judges and not strategy:
        sentence = f"«--judge-endpoint {next(iter(judges))}=URL» names a judge of the reward by which a strategy grades"
        raise UsageError(sentence, "«--strategy best_of:by=reward»")


def judge_of(request: EvalRequest) -> Judge:
    return Judge(str(request.judge_endpoint), request.judge_model, os.environ.get(JUDGE_KEY))
