r"""The reward of ViCrit: 0.9 * exact + 0.1 * format. From 0 to 1.

An answer is read as `vicrit_bench` reads it, the first \boxed{} or the last line. It is exact where it is the wrong
phrase, and where it has words of the caption before or behind it, up to all of the caption. The format is that of
`easy_r1`: a thought that begins the reply, and behind it a box.
Source: arXiv:2506.10128 (ViCrit), section 3.2, for the match, the words around it, the format and both weights; its
authors published no code of training. Assumed: capitals, white space, quotation marks, and the brackets of a list,
which the prompt asks for, do not count, nor does a full stop at the end.
"""

from typing import Any

from virc.rewards.context import RewardContext
from virc.rewards.sample import Sample
from virc_zoo.rollouts import of_last_reply
from virc_zoo.thinklite_vl import easy_r1
from virc_zoo.vicrit.vicrit_bench import answer_of

TERMS = ("exact", "formed")
whole = of_last_reply
_AROUND = " \"'“”‘’`[]."
formed = easy_r1.formed


def exact(sample: Sample, context: RewardContext) -> float:
    """Whether the answer is the wrong phrase, with or without words of the caption around it: 1 or 0."""
    said, wrong = phrase(answer_of(sample.text)), phrase(sample.prompt.key.answer)
    return float(said == wrong or (wrong in said and said in phrase(sample.prompt.question)))


def phrase(text: str) -> str:
    """A text as it is compared: in small letters, on one line, without marks around it."""
    return " ".join(text.lower().split()).strip(_AROUND)


def total(t: Any) -> float:
    """The reward of the reply."""
    return float(0.9 * t.exact + 0.1 * t.formed)
