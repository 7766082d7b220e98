"""ROUGE-L of the answer: how long a sequence of words it has in common with the right one, as an F1, 0 to 1.

Words are runs of letters and digits of ASCII, without case and unstemmed, as the package rouge-score has them.
Of replies that answer only. Source: Lin, ROUGE (2004), section 3.1; the same number as rouge-score 0.1.2 gives.
"""

import re
from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from virc.rewards.means import Means
    from virc.rewards.sample import Sample

NAME = "rouge"
_WORD = re.compile(r"[a-z0-9]+")
_MOST = 2000
"""Words of an answer that are read: an answer is short, and time grows with the product of both lengths."""


def score(sample: "Sample", means: "Means") -> float | None:
    """The F1."""
    if sample.answer is None:
        return None
    return rouge_l(sample.answer, sample.prompt.key.answer)


def rouge_l(answer: str, reference: str) -> float:
    """The F1 of precision and recall of the longest common subsequence of words."""
    one, other = (_WORD.findall(text.lower())[:_MOST] for text in (answer, reference))
    common = _common(one, other)
    return 2 * common / (len(one) + len(other)) if common else 0.0


def _common(one: list[str], other: list[str]) -> int:
    """The length of the longest common subsequence, a row of the table at a time as the bits of one number.

    Source: Hyyrö, Bit-parallel LCS-length computation revisited (2004).
    """
    places: dict[str, int] = defaultdict(int)
    for at, word in enumerate(other):
        places[word] |= 1 << at
    full = (1 << len(other)) - 1
    row = full
    for word in one:
        hits = row & places.get(word, 0)
        row = (row + hits | row - hits) & full
    return len(other) - row.bit_count()
