r"""The score of ViCrit-Bench: whether an answer has the first word that only the wrong phrase has.

Words with which the wrong phrase and the true one both begin or end do not count, nor do capitals, and the word may be
a part of another. An answer is the content of the first \boxed{}, or the last line without one. 1 or 0.
Source: si0wang/ViCrit@727f1ee, score.py; as there, a box without an end loses its last character. That program ends at
`boxed{` without its backslash, and where words were only taken out of a phrase, so that none is new; both are 0 here.
"""

from typing import Any

from virc.rewards.context import RewardContext, UnscoredError
from virc.rewards.sample import Prompt, Sample
from virc_zoo.rollouts import of_last_reply

TERMS = ("contained",)
whole = of_last_reply
_BOX = r"\boxed{"


def contained(sample: Sample, context: RewardContext) -> float:
    """Whether the answer contains the first new word of the wrong phrase: 1 or 0."""
    new = new_words(original(sample.prompt), sample.prompt.key.answer)
    return float(bool(new) and new[0] in answer_of(sample.text).lower())


def original(prompt: Prompt) -> str:
    """The true phrase of a row: ViCrit-Train and ViCrit-Bench name it differently."""
    found = prompt.columns.get("solution_original", prompt.columns.get("original_noun_phrases"))
    if not isinstance(found, str):
        raise UnscoredError("needs the column solution_original or original_noun_phrases")
    return found


def new_words(before: str, after: str) -> list[str]:
    """The words of a text in small letters, without those that it begins or ends with as another does."""
    old, new = before.lower().split(), after.lower().split()
    while old and new and old[0] == new[0]:
        old, new = old[1:], new[1:]
    while old and new and old[-1] == new[-1]:
        old, new = old[:-1], new[:-1]
    return new


def answer_of(reply: str) -> str:
    """What stands in the first box, or the last line of a reply without one."""
    if "boxed{" not in reply:
        return reply.rpartition("\n")[2]
    inside, depth = reply.partition(_BOX)[2], 1
    for at, each in enumerate(inside):
        depth += (each == "{") - (each == "}")
        if not depth:
            return inside[:at]
    return inside[:-1]


def total(t: Any) -> float:
    """The score of the reply."""
    return float(t.contained)
