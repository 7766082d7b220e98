"""Judges that say what a test tells them, without a server or behind one."""

from collections.abc import Callable, Mapping

from support.servers import Body, images_of

from virc.backends.interface import Sampling
from virc.reasoning.session import Ask
from virc.rewards.context import RewardContext
from virc.rewards.judging import Judge

Says = str | Callable[[str], str]
"""A reply, or a function of the text of the question that gives one."""


class ScriptedJudge(Judge):
    """A judge that needs no server: `asked` has the questions it got, in order."""

    def __init__(self, says: Says) -> None:
        super().__init__("http://127.0.0.1:9/v1")
        self.asked: list[Ask] = []
        self._says = says

    async def _reply(self, ask: Ask, sampling: Sampling, number: int) -> str:
        self.asked.append(ask)
        return self._says if isinstance(self._says, str) else self._says(ask.messages[-1].text)


def judged(says: Says = "", **others: Says) -> RewardContext:
    """The means with a scripted judge, and with others by their names."""
    judges: Mapping[str, Judge] = {name: ScriptedJudge(each) for name, each in others.items()}
    return RewardContext(judge=ScriptedJudge(says), judges=judges)


def by_pictures(body: Body) -> str:
    """The reply of a judge's server: 1 without a picture, .6 of a thought with one, .5 of a look with two."""
    return (r"\boxed{1}", r"\boxed{0.6}", r"\boxed{0.5}")[len(images_of(body))]
