"""What is evaluated: a benchmark, models, and how answers are scored."""

import os
from collections.abc import Mapping, Sequence

import msgspec

from virc.core.errors import UsageError
from virc.core.files import expanded
from virc.evaluation import contamination, environments, signing
from virc.evaluation.answers import Traces
from virc.evaluation.environments import Environment, OfEnvironment
from virc.evaluation.rewarding import Rewarding
from virc.rewards.means import JUDGE_KEY
from virc.rewards.trial import judged_reward
from virc.scoring.judge import Judge
from virc.solving.ablation import CropAblation
from virc.solving.pipelines.solve import PipelineSetup
from virc.solving.setup import Setup


class EvalRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What is evaluated: every setup on one benchmark, all with the same crop ablation.

    Args: as of `virc.evaluation.api.evaluate`, and
        pipeline: what is evaluated in place of the setups, without a reward and a crop ablation.
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
    reward: str | None = None
    judge_endpoints: Mapping[str, str] = {}
    pipeline: PipelineSetup | None = None
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
        "--pipeline": request.pipeline,
        "--environment": request.environment,
    }
    if request.looks and (given := next((name for name, value in refused.items() if value), None)):
        raise UsageError(f"{given} does not go with --looks", "leave one out")


def reward_of(request: EvalRequest) -> Rewarding | Environment | None:
    if request.environment:
        by_strategy = any(setup.config.strategy for setup in request.setups)  # whose judge it is then
        refused = {
            "--reward": request.reward,
            "--judge-endpoint": (request.judge_endpoint or request.judge_endpoints) and not by_strategy,
            "--split": request.split,
            "--against": request.against,
            "--crop-ablation counterfactual": request.crop_ablation == "counterfactual",
        }
        if given := next((name for name, value in refused.items() if value), None):
            raise UsageError(f"{given} does not go with --environment", "leave one out")
        return environments.load(request.benchmark, request.environment, request.limit)
    if request.reward is None:
        if request.judge_endpoints:
            name = next(iter(request.judge_endpoints))
            raise UsageError(f"--judge-endpoint {name}=URL names a judge of a reward", "--reward SYSTEM")
        return None
    if request.crop_ablation == "counterfactual":
        raise UsageError("--reward needs the row's own answer, not that of its counterfactual", "leave one of both out")
    judges = (request.judge_endpoint, request.judge_model, request.judge_endpoints)
    named, reward, total = judged_reward(request.reward, *judges)
    return Rewarding(named.name, reward, total)


def judge_of(request: EvalRequest) -> Judge:
    return Judge(str(request.judge_endpoint), request.judge_model, os.environ.get(JUDGE_KEY))
