"""What is evaluated: a benchmark, models, and how answers are scored."""

import os
from collections.abc import Mapping, Sequence

import msgspec

from virc.core.errors import UsageError
from virc.core.files import expanded
from virc.evaluation import contamination, environments, signing
from virc.evaluation.answers import Traces
from virc.evaluation.environments import Environment, OfEnvironment
from virc.scoring.judge import JUDGE_KEY, Judge
from virc.solving.ablation import CropAblation
from virc.solving.setup import Setup
from virc.solving.solver import SolverSetup


class EvalRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What is evaluated: every setup on one benchmark, all with the same crop ablation.

    Args: as of `virc.evaluation.api.evaluate`, and
        solver: what is evaluated in place of the setups, without a crop ablation.
        looks: whether the problems are asked in all arms of `looks.ARMS`, for a verdict on looking.
        estimate_only: ask the first problems as they are, and say how long all arms would take.
    """

    benchmark: str
    setups: Sequence[Setup]
    to: str | None = None
    limit: int | None = None
    split: str | None = None
    judge_endpoint: str | None = None
    judge_model: str | None = None
    traces: Traces = "wrong"
    against: bool = False
    at_once: int | None = None
    solver: SolverSetup | None = None
    environment: OfEnvironment | None = None
    against_run: str | None = None
    sign: str | None = None
    looks: bool = False
    estimate_only: bool = False

    @property
    def crop_ablation(self) -> CropAblation:
        return self.setups[0].config.crop_ablation


def check(request: EvalRequest) -> None:
    """Refuse at once what would be refused at the end, and what has no arms."""
    if request.judge_model and not request.judge_endpoint:
        raise UsageError("--judge-model names a model of a judge's endpoint", "--judge-endpoint URL")
    if request.against and any(setup.config.strategy for setup in request.setups):
        raise UsageError("--against compares a model as it was published, without a strategy", "leave --strategy out")
    if request.against and len({setup.config.seed for setup in request.setups}) > 1:
        raise UsageError("--against compares a model as it was published, with one seed", "leave --seeds out")
    if request.against_run:
        list(contamination.files(request.against_run))
    if request.sign:
        signing.tool_of(expanded(request.sign))
    refused = {
        "--crop-ablation": request.crop_ablation != "none",
        "--pipeline": request.solver,
        "--environment": request.environment,
    }
    if request.looks and (given := next((name for name, value in refused.items() if value), None)):
        raise UsageError(f"{given} does not go with --looks", "leave one out")


def check_named_judges(judges: Mapping[str, str], strategy: object) -> None:
    """Refuse judges of a reward, by their names, where no strategy may grade by one."""
    if judges and not strategy:
        sentence = f"--judge-endpoint {next(iter(judges))}=URL names a judge of the reward by which a strategy grades"
        raise UsageError(sentence, "--strategy best_of:by=reward")


def environment_of(request: EvalRequest) -> Environment | None:
    if not request.environment:
        return None
    by_strategy = any(setup.config.strategy for setup in request.setups)  # whose judge it is then
    refused = {
        "--judge-endpoint": request.judge_endpoint and not by_strategy,
        "--split": request.split,
        "--against": request.against,
        "--crop-ablation counterfactual": request.crop_ablation == "counterfactual",
    }
    if given := next((name for name, value in refused.items() if value), None):
        raise UsageError(f"{given} does not go with --environment", "leave one out")
    return environments.load(request.benchmark, request.environment, request.limit)


def judge_of(request: EvalRequest) -> Judge:
    return Judge(str(request.judge_endpoint), request.judge_model, os.environ.get(JUDGE_KEY))
