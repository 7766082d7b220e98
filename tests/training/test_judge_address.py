"""Which stages get the judge that a Slurm site's jobs serve."""

from pathlib import Path
from typing import Any

import pytest

from virc.cluster.site import IN_JOB, JobJudge, Site
from virc.core.errors import ConfigError
from virc.stages.resolve import Resolved
from virc.training import rl_setup
from virc.training.request import TrainRequest

SITE = Site(judge=JobJudge(model="judge"))


def _asked(target: Site | None = SITE, stage: str = "rl", **fields: Any) -> TrainRequest:
    return _placed(target, stage, **fields)[0]


def _placed(target: Site | None = SITE, stage: str = "rl", **fields: Any) -> tuple[TrainRequest, Resolved]:
    given = {"data": None, "base": None, "name": None, "workspace": Path("/w"), **fields}
    request = TrainRequest(system="virc", stage=stage, **given)
    changed, resolved = rl_setup.with_job_judge(request, request.resolve(), target)
    if changed.judge_endpoint == IN_JOB:
        assert resolved.config.reward.judge.endpoint == IN_JOB
        assert resolved.config.judge_gpus == 0
    return changed, resolved


@pytest.mark.parametrize("overlays", [(), ("judge-split",)])
def test_a_reward_that_asks_a_judge_gets_that_of_the_job(overlays: tuple[str, ...]) -> None:
    assert _asked(overlays=overlays).judge_endpoint == IN_JOB


@pytest.mark.parametrize(
    "fields",
    [
        {"judge_endpoint": "http://other:8005/v1"}, {"overlays": ("rules",)}, {"target": Site()}, {"target": None},
        {"stage": "instruct"}, {"settings": {"reward.judge.endpoint": "http://other/v1", "judge_gpus": 0}},
    ],
)  # fmt: skip
def test_another_judge_or_none_stays(fields: dict[str, Any]) -> None:
    assert _asked(**fields).judge_endpoint == fields.get("judge_endpoint")


def test_a_judge_whose_weights_are_not_here_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"Qwen2\.5-VL-72B-Instruct"):
        rl_setup.check_job_judge(*_placed(workspace=tmp_path), SITE)
    rl_setup.check_job_judge(*_placed(workspace=tmp_path, overlays=("rules",)), SITE)


@pytest.mark.parametrize("overlays", [(), ("judge-split",)])
def test_a_job_whose_judge_nobody_serves_is_refused(overlays: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="the reward asks a judge, and the job serves none"):
        rl_setup.check_job_judge(*_placed(Site(), overlays=overlays), Site())


@pytest.mark.parametrize("fields", [{"judge_endpoint": "http://other/v1"}, {"overlays": ("rules",)}])
def test_a_job_that_needs_no_judge_is_not(fields: dict[str, Any]) -> None:
    rl_setup.check_job_judge(*_placed(Site(), **fields), Site())
