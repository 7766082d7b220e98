"""What a system rewards, for people: its total, its terms, and what its judge is asked."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from virc.core import plugins
from virc.rewards import judging, published
from virc.rewards.registry import Total
from virc.rewards.trial import reward_of
from virc.systems.registry import Reward, System

OURS = "our own words, not the published ones; reward.judge.questions names a file with others"


def fields_of(system: System) -> dict[str, Any]:
    """The fields of `virc.rewards.show/1`.

    Raises:
        ConfigError: the system has no reward, or a part of it is missing.
    """
    reward, total = reward_of(system)
    asked, source = _questions(reward, total)
    return {
        "system": system.name,
        "total": {"name": total.name, "about": total.about, "file": str(total.file)},
        "terms": [{"name": term.name, "about": term.about} for term in total.terms],
        "weights": dict(reward.weights),
        "strict": reward.strict,
        "quirks": {**published.QUIRKS, "difference": published.DIFFERENCE} if reward.strict == "published" else {},
        "judge": {"endpoint": reward.judge.endpoint, "model": reward.judge.model, "source": source},
        "questions": dict(asked),
    }


def _questions(reward: Reward, total: Total) -> tuple[Mapping[str, str], str | None]:
    """What the judge is told and asked, and whose words they are; none where no term asks one."""
    if named := getattr(plugins.loaded(total.file), "JUDGE", None):
        theirs = judging.published(named)
        return {"system": theirs.system, total.name: theirs.user}, "the published words"
    file = reward.judge.questions
    every = judging.questions(Path(file) if file else None)
    asked = {term.name: every[term.name] for term in total.terms if term.name in judging.PLACES}
    return ({"system": every["system"], **asked}, file or OURS) if asked else ({}, None)
