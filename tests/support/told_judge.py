"""A rollout's reward with a judge that says what a test tells it, and the conversations that the judge got."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from virc.backends.interface import Sampling
from virc.reasoning.session import Ask
from virc.reasoning.trace import Ended
from virc.rewards import registry as rewards
from virc.rewards import rollouts
from virc.rewards.means import Means
from virc.rewards.sample import Sample
from virc.rewards.scripted import ScriptedJudge

Chats = list[Mapping[str, Any]]


class ToldJudge(ScriptedJudge):
    """A scripted judge whose `chats` are what a server would get."""

    def __init__(self, says: str) -> None:
        super().__init__(says)
        self.chats: Chats = []

    async def _reply(self, ask: Ask, sampling: Sampling, number: int) -> str:
        messages = [{"role": each.role, "content": each.text} for each in ask.messages]
        self.chats.append({"messages": messages, "temperature": sampling.temperature})
        return await super()._reply(ask, sampling, number)


def judged(samples: Sequence[Sample], ended: Ended, total: str, says: str) -> tuple[float | None, Chats]:
    """The reward of a rollout where the judge says so, and the conversations that it got."""
    judge = ToldJudge(says)
    found = asyncio.run(rollouts.score(samples, ended, rewards.find(total), Means(judge=judge)))
    return found.total, judge.chats
