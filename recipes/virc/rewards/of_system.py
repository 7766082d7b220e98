"""The reward of a system: its total, and the judges that a user names in place of the system's own."""

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from virc.config import user as config
from virc.config.user import cache_folder
from virc.core.errors import ConfigError, UsageError
from virc.core.events import Reporter
from virc.core.text import did_you_mean
from virc.rewards import registry as rewards
from virc.rewards.context import RewardContext, context_of
from virc.rewards.registry import Total
from virc.systems import registry as systems
from virc.systems.registry import Reward, System


def reward_of(system: System) -> tuple[Reward, Total]:
    if system.reward is None:
        raise ConfigError(f"the system {system.name} has no reward", "reward: {total: NAME}; virc rewards ls")
    return system.reward, rewards.of(system.reward, system.file.parent)


def judged_reward(
    system: str, endpoint: str | None, model: str | None, others: Mapping[str, str]
) -> tuple[System, Reward, Total]:
    """A system with its reward, in which judges are asked at other endpoints; `others` are by the reward's names."""
    if system.endswith(".py") or system in {*rewards.total_names()} - systems.discover().keys():
        raise UsageError(
            f"{system} is a reward, and what is tried is a system",
            f"virc systems new mine, in it reward: {{total: {system}}}, then virc rewards try mine.yaml",
        )
    named = systems.get(system)
    reward, total = reward_of(named)
    for url in filter(None, (endpoint, *others.values())):
        config.check_setting("endpoint", url, "«--judge-endpoint»", UsageError)
    judges, own = dict(reward.judges), reward.judge
    for name, url in others.items():
        if name not in judges:
            hint = did_you_mean(name, judges, "reward.judges names them")
            raise UsageError(f"the reward has no judge {name!r}", hint)
        judges[name] = msgspec.structs.replace(judges[name], endpoint=url)
    judge = msgspec.structs.replace(own, endpoint=endpoint or own.endpoint, model=model or own.model)
    return named, msgspec.structs.replace(reward, judge=judge, judges=judges), total


def means_here(reward: Reward, report: Reporter, base: Path | None = None) -> RewardContext:
    is_judged = any(each.endpoint for each in (reward.judge, *reward.judges.values()))
    return context_of(reward, cache_folder(os.environ) / "judged" if is_judged else None, report.warn, base)
