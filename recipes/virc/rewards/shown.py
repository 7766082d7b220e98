"""What a system rewards, for people: its total, its terms, and what its judge is asked."""

from pathlib import Path
from typing import Any

from virc.rewards import judging, published, user_code
from virc.rewards.of_system import reward_of
from virc.rewards.registry import Total
from virc.systems import texts
from virc.systems.registry import Reward, System

OURS = "our own words, not the published ones; reward.judge.questions names a file with others"
PUBLISHED = "the published words"
OWN_WORDS = "our own words in place of the published ones"


def fields_of(system: System) -> dict[str, Any]:
    """The fields of `virc.rewards.show/1`. Raises ConfigError: the system has no reward, or a part is missing."""
    reward, total = reward_of(system)
    return {
        "system": system.name,
        "total": {"name": total.name, "about": total.about, "file": str(total.file)},
        "terms": [{"name": term.name, "about": term.about} for term in total.terms],
        "weights": dict(reward.weights),
        "group": dict(reward.group),
        "strict": reward.strict,
        "quirks": {**published.QUIRKS, "difference": published.DIFFERENCE} if reward.strict == "published" else {},
        "judge": {"endpoint": reward.judge.endpoint, "model": reward.judge.model},
        "questions": _questions(reward, total),
    }


def _questions(reward: Reward, total: Total) -> dict[str, dict[str, str]]:
    """What judges are told and asked, each with whose words it is; none where no term needs one and none is named."""
    asks = {term.name: term.asks.question for term in total.terms if term.asks and term.asks.question}
    whose = OWN_WORDS if texts.own_words() else PUBLISHED
    if asks:
        return {
            name: {
                "text": "\n\n".join(filter(None, reversed(question.said()))),
                "words": f"{total.file}, to the {question.judge}" if user_code.is_own(total.file) else whose,
            }
            for name, question in asks.items()
        }
    file, own = reward.judge.questions, judging.questions()
    every = judging.questions(Path(file) if file else None)
    judged = reward.judge.endpoint or any(term.asks for term in total.terms)  # else rules alone give `answer`
    asked = [term.name for term in total.terms if judged and term.name in judging.PLACES]
    return {
        name: {"text": every[name], "words": OURS if every[name] == own[name] else str(file)}
        for name in (["system", *asked] if asked else [])
    }
