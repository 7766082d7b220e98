r"""The reward of ViCrit: 0.9 * exact + 0.1 * format. From 0 to 1.

An answer is read as `vicrit_bench` reads it, the first \boxed{} or the last line; it is exact where it is the wrong
phrase, without regard to capitals, white space, a full stop at its end, quotation marks, and the brackets of a list,
which the prompt asks for. The format is that of `easy_r1`: a thought that begins the reply, and behind it a box.
Source: arXiv:2506.10128 (ViCrit), abstract, for the exact match; its authors published no code of training. How texts
are brought together before they are compared, the format and the two weights are assumed: those of EasyR1, with which
the same authors trained ThinkLite-VL.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from virc_zoo.thinklite_vl import easy_r1
from virc_zoo.vicrit.vicrit_bench import answer_of

if TYPE_CHECKING:
    from virc.rewards.means import Means
    from virc.rewards.sample import Sample

TERMS = ("exact", "formed")
"""They stand below."""
_AROUND = " \"'“”‘’`[]."
formed = easy_r1.formed


def exact(sample: "Sample", means: "Means") -> float:
    """Whether the answer is the wrong phrase: 1 or 0."""
    return float(phrase(answer_of(sample.text)) == phrase(sample.prompt.key.answer))


def phrase(text: str) -> str:
    """A text as it is compared: in small letters, on one line, without marks around it."""
    return " ".join(text.lower().split()).strip(_AROUND)


def total(t: Any) -> float:
    """The reward of the reply."""
    return float(0.9 * t.exact + 0.1 * t.formed)


def whole(units: Sequence[float], t: Any) -> float:
    """The reward of a rollout, which is one reply."""
    return units[-1]
