"""Which stages have the judge that a site's jobs serve."""

import msgspec

from virc.cluster.jobs import Target
from virc.cluster.site import IN_JOB, Site
from virc.core.errors import ConfigError
from virc.models import registry as models
from virc.rewards.means import JUDGE
from virc.stages.resolve import Resolved
from virc.training.request import TrainRequest
from virc.training.rl_setup import asking_terms


def placed(request: TrainRequest, resolved: Resolved, target: Target | None) -> tuple[TrainRequest, Resolved]:
    """A stage with the judge of its site's jobs, where its reward asks one and no other is named."""
    if not isinstance(target, Site) or target.judge is None or not _asks(request, resolved):
        return request, resolved
    request = msgspec.structs.replace(request, judge_endpoint=IN_JOB)
    return request, request.resolve()


def check(request: TrainRequest, resolved: Resolved, target: Target | None) -> None:
    """Check, before a job waits for hours, that the judge its reward asks will be there.

    Raises:
        ConfigError: nobody serves it, or its weights are not here.
    """
    if not isinstance(target, Site):
        return
    if target.judge is None:
        if _asks(request, resolved) and resolved.config.judge_gpus:
            ways = "--judge-endpoint URL of one that is served elsewhere"
            raise ConfigError(
                "the reward asks a judge, and the job serves none", f"judge: {{model: judge}} in slurm.yaml, or {ways}"
            )
    elif request.judge_endpoint == IN_JOB:
        models.find(target.judge.model, request.workspace)


def _asks(request: TrainRequest, resolved: Resolved) -> bool:
    """Whether the reward of a stage asks a judge that is served nowhere else; one beside the policy is of the job."""
    if resolved.kind != "rl" or request.judge_endpoint:
        return False
    config = resolved.config
    if config.reward.judge.endpoint and not config.judge_gpus:
        return False
    return any(asks.judge == JUDGE for _, _, asks in asking_terms(resolved))
