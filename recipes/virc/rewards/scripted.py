"""Judges without a server: one says what a test tells it, the other the best or the worst that is read."""

from collections.abc import Callable, Mapping, MutableMapping
from contextlib import suppress
from weakref import WeakKeyDictionary

from virc.backends.interface import Sampling
from virc.reasoning.session import Ask
from virc.rewards.judging import Judge, Verdict
from virc.rewards.means import Means

Says = str | Callable[[str], str]
"""A reply, or a function of the text of the question that gives one."""
Reads = Callable[[str], float | None]
_USUAL = ("yes", "no", "1", "0", "1.0", "0.0", "0.5", "2", "3", "4", "5", "10", "A", "B", "true", "false")
_FORMS = ("{}", r"\boxed{{{}}}", "Judgement: {}", "Score: {}")
_MARKS = ".,:;!?\"'()[]{}<>*`"
_MAX_WORDS = 100


class ScriptedJudge(Judge):
    """A judge that needs no server: `asked` has the questions it got, in order."""

    def __init__(self, says: Says) -> None:
        super().__init__("http://127.0.0.1:9/v1")
        self.asked: list[Ask] = []
        self._says = says

    async def _reply(self, ask: Ask, sampling: Sampling, number: int) -> str:
        self.asked.append(ask)
        return self._says if isinstance(self._says, str) else self._says(ask.messages[-1].text)


def judged(says: Says = "", **others: Says) -> Means:
    """The means with a scripted judge, and with others by their names."""
    judges: Mapping[str, Judge] = {name: ScriptedJudge(each) for name, each in others.items()}
    return Means(judge=ScriptedJudge(says), judges=judges)


class ExtremeJudge(Judge):
    """A judge that gives the highest or the lowest value that is read in one of many replies, to see what a reward
    makes of it: yes and no, numbers, and each word of the question, bare, in a box and behind common marks.

    Where nothing is read in any of them, the value is 1 or 0.
    """

    def __init__(self, high: bool) -> None:
        super().__init__("http://127.0.0.1:9/v1")
        self.high, self.questions = high, 0
        self._known: MutableMapping[Reads, dict[str, list[float]]] = WeakKeyDictionary()

    async def verdict(self, name: str, ask: Ask, sampling: Sampling, tries: int, read: Reads) -> Verdict:
        self.questions += 1
        words = dict.fromkeys((*_USUAL, *(word.strip(_MARKS) for word in ask.messages[-1].text.split()[-_MAX_WORDS:])))
        known = self._of(read)
        for word in words.keys() - known.keys():
            known[word] = _values(read, word)
        values = [value for word in words for value in known[word]]
        return Verdict((max if self.high else min)(values, default=float(self.high)), "a scripted judge")

    def _of(self, read: Reads) -> dict[str, list[float]]:
        """What this function reads in words, as far as it is known: most words come back in the next question."""
        try:
            return self._known.setdefault(read, {})
        except TypeError:  # an object that cannot be a key
            return {}


def _values(read: Reads, word: str) -> list[float]:
    values = list[float]()
    for form in _FORMS:
        with suppress(Exception):  # a reading of one's own may take these replies alone that its question names
            values += [value] if (value := read(form.format(word))) is not None else []
    return values
